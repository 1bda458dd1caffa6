#!/bin/sh
# The configuration is proven: the Pi does not go back any more.
set -eu

smart-meter-guard confirm configuration
