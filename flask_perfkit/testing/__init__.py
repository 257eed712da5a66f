"""What tests can ask of the code that they run: few statements, no findings, a budget."""
