"""The model for the edge: one file for OpenVINO, in float and in int8, and what it must keep."""
