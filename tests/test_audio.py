"""Sound in training is the device's own."""

import kgated_edge

import kgated.audio


def test_the_front_end_is_the_devices_own():
    assert kgated.audio.LogMel is kgated_edge.LogMel
    assert kgated.audio.FrontEnd is kgated_edge.FrontEnd
