"""The servers that ours is compared with, each written as its documentation shows."""
