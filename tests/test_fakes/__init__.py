"""The fakes held to boto3, raw sockets and AWS's published rules."""
