"""Question answering over a context: SQuAD 1.1 and 2.0, MRQA."""
