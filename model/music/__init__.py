"""Generated music with its stems, to train on: the data set of the bundled model.

`score`, `grooves` and `accompaniment` compose; `midi` and `kits` play it on recorded instruments, `plucked` and
`synths` on computed ones; `speakers` speak, `voices` takes their speech apart and `singing` puts it on a melody;
`effects`, `rooms` and `chains` make takes sound like records; `stems` puts one take together from `sounds`, and
`render_bank` writes songs.

Needs the Debian packages that `sounds.PACKAGES` names, and `pip install 'stembeam[generate]'`.
"""
