"""Preferences of LLM judges and people: asked for, read, kept and compared.

Every answer is stored as it arrives, so that a stopped run loses none.

- `judge`: a model behind an endpoint, and what it is asked
- `reply`: what an endpoint's reply says
- `ask`: put questions to endpoints, many at once
- `store`: answers in a SQLite file
- `verdict`: what an answer says, and one verdict from both orders
- `votes`: answers that others collected
- `agreement`: consistency, agreement and trees of judges
- `attribution`: SHAP values of their trees
"""
