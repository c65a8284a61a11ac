"""Relation extraction: TACRED and SemEval-2010 Task 8."""
