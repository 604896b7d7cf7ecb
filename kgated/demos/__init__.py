"""Demos from recordings to events: motion and keywords."""

from kgated.demos.from_files import EventDemo, run_event_demo
from kgated.demos.keyword import keyword_demo
from kgated.demos.motion import motion_demo

__all__ = ["EventDemo", "keyword_demo", "motion_demo", "run_event_demo"]
