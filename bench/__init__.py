"""`make bench`: this concentrator and its peers under the same load, side by side."""
