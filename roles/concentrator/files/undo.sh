#!/bin/sh
# Go back to the configuration from before, if the Pi has not done so already.
set -eu

smart-meter-guard undo configuration
