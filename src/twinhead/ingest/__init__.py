"""From files to the data set: scan, decode within limits, hash, and report what is odd."""
