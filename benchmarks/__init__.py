"""What is measured, how, and beside whom: `python -m benchmarks.NAME`; README.md has the results."""
