"""The recipe of the starter model: art, scenes, training, evaluation and export.

Needs the training-only extra ``starter``; the app itself never imports it.
"""
