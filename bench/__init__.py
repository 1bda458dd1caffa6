"""`make bench`: compares this concentrator with its peers under the same load."""
