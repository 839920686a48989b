"""Tables and pages: one table model with a writer per format, and HTML pages from templates that escape everything."""
