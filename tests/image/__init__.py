"""Tests of images that boot in virtual machines (make test-image).

A processor is emulated, so a boot takes minutes on a busy machine. The machine's only network is QEMU's own:
the control zone, in which QEMU is the Opta. It has no way out.
"""
