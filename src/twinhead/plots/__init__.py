"""Every figure that the pipeline draws: one module a stage, all in one style."""
