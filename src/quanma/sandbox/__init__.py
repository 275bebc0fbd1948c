"""`quanma sandbox`: the platform for integration tests, with faults, a clock and a journal under `/_sandbox/`.

A room above platform, upload and client. `quanma serve` never imports it.
"""
