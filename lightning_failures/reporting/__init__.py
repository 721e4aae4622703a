"""Findings and records as plain data, and what is made of them: figures, tables, the console, the HTML report."""
