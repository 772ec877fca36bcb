"""Embedding on a Ray cluster: text goes out in blocks, vectors come back in any order.

``address.py`` says which cluster, ``connection.py`` reaches or starts it, ``actors.py`` is what runs on its nodes,
``shipping.py`` how a model gets there, ``pool.py`` keeps the actors alive, ``embedder.py`` is what the pipeline sees.
"""
