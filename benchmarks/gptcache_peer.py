"""Runs under GPTCache's own Python: JSON lines of puts and gets in, for each get the answer that is served out.

Its own encoders are fetched from a hub when first used, so the vectors come with the rows; store, search and evaluation are its.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from gptcache import Cache, Config
from gptcache.adapter.api import get, put
from gptcache.manager import CacheBase, VectorBase, get_data_manager
from gptcache.processor.pre import get_prompt
from gptcache.similarity_evaluation.distance import SearchDistanceEvaluation

DIMENSIONS = 384


def main() -> None:
    threshold, vector = float(sys.argv[1]), np.zeros(DIMENSIONS, np.float32)

    def embedded(_: str, **__: Any) -> Any:
        return vector

    with tempfile.TemporaryDirectory() as folder:
        data = get_data_manager(
            CacheBase("sqlite", sql_url=f"sqlite:///{folder}/answers.db"),
            VectorBase("faiss", dimension=DIMENSIONS, index_path=str(Path(folder) / "faiss.index")),
        )
        cache = Cache()
        cache.init(
            pre_embedding_func=get_prompt,
            embedding_func=embedded,
            data_manager=data,
            similarity_evaluation=SearchDistanceEvaluation(),
            config=Config(similarity_threshold=threshold),
        )
        for line in sys.stdin:
            row = json.loads(line)
            vector = np.array(row["vector"], np.float32)
            if row["op"] == "put":
                put(row["text"], row["answer"], cache_obj=cache)
            else:
                print(json.dumps(get(row["text"], cache_obj=cache)))
        data.close()


main()
