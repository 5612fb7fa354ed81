"""Shop data: entities, interactions, queries and rankings, and the ways to read, check, filter and split them."""

from tastemaker.data.dataset import Dataset
from tastemaker.data.entities import Entities
from tastemaker.data.queries import Queries
from tastemaker.data.ranking import Ranking, top_k
from tastemaker.data.splits import Holdout, Split

__all__ = ["Dataset", "Entities", "Holdout", "Queries", "Ranking", "Split", "top_k"]
