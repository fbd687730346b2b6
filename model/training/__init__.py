"""Training of the bundled model: generated music, random mixtures of its stems, and the training loop.

The recipe, from an empty folder (`apt install fluidsynth fluid-soundfont-gm timgm6mb-soundfont
musescore-general-soundfont hydrogen-drumkits sonic-pi-samples espeak-ng festival festvox-us-slt-hts flite`, `pip
install 'stembeam[train]'`):

    python -m stembeam.model.training.render_bank --out BANK --hours 2
    python -m stembeam.model.training.train --bank BANK --out FOLDER --minutes 40

`score` composes, `midi` and `kits` play it on recorded instruments, `synths` and `voices` make the sounds that
soundfonts lack, `effects` gives takes the sound of a record, `render_bank` writes them to disk, `mixing` mixes them
at random, `train` fits the network, `join` puts networks of single stems together and `evaluate` scores them.
Nothing is imported here, so that importing one part does not load TensorFlow.
"""
