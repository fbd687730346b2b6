"""Training: the generated data set of the bundled model, and the training loop for any data set.

The recipe of `mini`, from an empty folder (`apt install` what `sounds.PACKAGES` names, `pip install
'stembeam[train]'`):

    stembeam generate BANK
    stembeam prepare BANK --chunk-duration 10 --validation-share 0.05 -o SHARDS
    stembeam train --config configs/training/mini.json --shards SHARDS -o MODEL
    stembeam evaluate BANK --model MODEL -o SCORES
    python -m stembeam.model.training.card RECORDING... --model MODEL --picture PAIR.png

The generator: `score`, `grooves` and `accompaniment` compose; `midi` and `kits` play it on recorded instruments,
`plucked` and `synths` on computed ones; `speakers` speak, `voices` takes their speech apart and `singing` puts it on a
melody; `effects`, `rooms` and `chains` make takes sound like records; `stems` puts one take together from `sounds`, and
`render_bank` writes songs.

The training: `settings` reads a configuration; `shards`, `tables` and `sources` are where chunks come from; `inputs`
and `augment` make batches of them; `trainer` runs the steps. `card` is for model cards.

Nothing is imported here, so that importing one part does not load TensorFlow.
"""
