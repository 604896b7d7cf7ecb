"""The arguments of `kgated-edge realtime`."""

import argparse

from kgated_edge.cli.arguments import above_zero, count, streams
from kgated_edge.loadtest.plan import Plan


def add_realtime_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of a load test."""
    add, integer = parser.add_argument, count(0)
    add("--data", required=True, metavar="X.npz", help="sequences, run as one repeating stream")
    add("--period-ms", type=above_zero, metavar="MS", help="between two arrivals (the model's)")
    add("--deadline-ms", type=above_zero, metavar="MS", help="from arrival to end (the period)")
    add("--seconds", type=above_zero, default=60.0, metavar="S", help="how long frames arrive (60)")
    add("--max-misses", type=integer, default=0, metavar="N", help="deadlines allowed to miss (0)")
    add("--streams", type=streams, default=1, metavar="N", help="models per period (1), or auto")
    add("--pool", action="store_true", help="streams as sessions of a pool, taken together")
    add("--workers", type=count(1), default=1, metavar="N", help="processes of the pool (1)")
    add("--load", type=integer, default=0, metavar="N", help="busy background processes (0)")
    add("--priority", type=count(1), metavar="P", help="real-time priority, 1 to 99")
    add("--cpu", type=integer, metavar="K", help="run on this CPU alone")
    add("--lock-memory", action="store_true", help="keep memory from being swapped out")
    add("--every-step", metavar="OUT.csv", help="write the times of each step to this file")
    add("--spin", action="store_true", help="poll the clock instead of sleeping; uses a whole CPU")


def plan_of(options: argparse.Namespace) -> Plan:
    """The load test that the arguments describe."""
    return Plan(
        period_ms=options.period_ms,
        deadline_ms=options.deadline_ms,
        seconds=options.seconds,
        streams=options.streams,
        pool=options.pool,
        workers=options.workers,
        load=options.load,
        priority=options.priority,
        cpu=options.cpu,
        lock_memory=options.lock_memory,
        spin=options.spin,
        max_misses=options.max_misses,
        num_threads=options.threads,
        engine=options.engine,
    )
