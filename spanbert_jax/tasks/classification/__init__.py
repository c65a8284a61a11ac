"""Classification of texts and of pairs of texts, and GLUE. In: tables. Out: labels or scores."""
