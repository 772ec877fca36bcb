"""Embed on a Ray cluster: text goes out in blocks, vectors come back in any order.

``address.py`` finds the cluster, ``ray_connection.py`` reaches or starts it, ``actors.py`` runs on its nodes,
``model_transfer.py`` brings the model there, ``actor_slots.py`` and ``pool.py`` keep the actors alive, and
``cluster_embedder.py`` is the pipeline's view of it all.
"""
