"""Training and fine-tuning, on shards that `stembeam prepare` wrote or on tables of songs.

`settings` reads a configuration; `shards`, `tables` and `sources` are where chunks come from; `inputs` and `augment`
make batches of them; `trainer` runs the steps. `card` is for model cards.

The recipe of the bundled `mini`, from an empty folder, is one target, `make mini`.

Nothing is imported here, so that importing one part does not load TensorFlow.
"""
