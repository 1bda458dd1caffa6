"""What a request does: from a function code to a reply, a sample and a log line."""
