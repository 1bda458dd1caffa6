"""The servers that ours is held against, each written as its own documentation shows it."""
