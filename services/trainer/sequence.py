"""Train the model of the policy ``sequence``, look whether it collapsed, and write its release."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
from rich.progress import Progress

from recommender.ranking.log import Moments, Past, RatingLog, walk
from recommender.ranking.measures import coverage, entropy
from recommender.ranking.next_item import LIST_LENGTH
from recommender.sequence.training import OnEpoch, SequenceLoss, SequenceSettings, TrainedSequence
from schemas.errors import ConfigurationError, DataError, ModelError
from schemas.events import Item, ModelRelease
