"""The order of a statement: its terms, what makes rows unique, what lies behind a row."""
