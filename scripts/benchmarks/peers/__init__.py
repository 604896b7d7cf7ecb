"""Engines that people would pick instead, each in an environment and a process of its own."""
