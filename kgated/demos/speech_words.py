"""What is said in the keyword demo: the wake phrases, parts of them, other words, sentences."""

from collections.abc import Callable, Sequence

import numpy as np

# A greeting and a name each.
GREETINGS, NAMES = ("hello", "okay"), ("computer", "sunshine")
KEYWORDS = ("hello computer", "okay sunshine")
SENTENCES = (
    "the train to the coast leaves at half past nine every morning",
    "she asked for a cup of tea and some bread with butter",
    "we have never seen so many birds over the old harbour",
    "please put the boxes next to the door before you go home",
    "nobody knew why the road had been closed for a week",
    "it may rain later but the wind will bring clear air tonight",
)
_COMMON = (
    "commuter competitor sunset sunny morning window water people because number "
    "another pictures together yesterday kitchen something open moonshine"
)
_WORDS = {
    "train": "committee company composer summer sunday shining garden paper letter music answer "
    "mountain river seven eleven please nothing market doctor winter computing pewter "
    "tutor future complete common company neuter shutter sunlight sunburn shiny china "
    "design sunroof machine outside believe minister number remind fortune guitar "
    "banana umbrella elephant battery telephone carpet engine window island language "
    "general hospital beautiful important interesting somebody Sunday combine son shine "
    "come pew other under thunder shoulder apple arrow autumn baker barrel beaver "
    "blanket border bottle bracelet breakfast brother bucket button cabin camera candle "
    "captain castle center chapter children circle coffee collar color column concert "
    "cottage cotton cousin culture curtain customer daughter diamond dinner director "
    "dozen dragon eagle early eighteen evening everyone factory family farmer father "
    "feather fever follow forest forty furniture gallery ginger glacier hammer handle "
    "harvest heaven history hunter husband insect jacket journey juice junior justice "
    "kettle kingdom ladder leather library lizard magazine marble measure medicine "
    "member metal mirror monkey monster museum mushroom napkin needle newspaper "
    "nineteen north object olive onion orange orchestra palace panda parrot passenger "
    "pencil picnic pigeon pillow pilot planet plastic pocketbook polite position potato "
    "president pressure princess problem pumpkin puppy question rabbit radio railway "
    "rather record ribbon robin rocket saddle salad salmon season secret senator shadow "
    "shelter sister soccer something spider station stomach story summit sweater symbol "
    "table temper theater ticket tiger tomato tower traffic tunnel uncle unit valley "
    "velvet village violin visitor voice volume wagon wallet weather wedding welcome "
    "whistle wisdom wonder worker yellow zebra",
    "tuning": "conclude polluter recline someone sandwich fashion butter lesson police basket "
    "holiday chicken pepper quarter",
    "testing": "commander intruder confused suntan sometime ocean teacher finger travel remember "
    "pocket hundred student nature",
}
# Words of the training alone, heard often: they share sounds with a name.
_CONFUSABLE = (
    "commuter commuter commuter competitor comforter compactor computing pewter tutor neuter "
    "suitor cuter commuted recruiter disputer refuter moonshine sunset sunny sunlight sunburn "
    "sunflower sunrise sunspot sunscreen shine shiny starshine sunroof outshine sandstone sunstone"
)
# Phonemes of espeak-ng, for invented words.
_ONSETS = (
    "b bj d f fj g h dZ k l m n p r s t v w j j z S tS T br dr fl gr kl kr pl pr sl sp st sw tr"
)
_VOWELS = "a e I 0 V U i: eI aI oU u: A@ O: 3: aU OI"
_ENDS = "n m t k s l d p S nd st ks"
_OPEN_SHARE = 0.3  # syllables that end with their vowel
# Words that share sounds with a greeting; of the training alone.
_NEAR_GREETINGS = (
    "hell hollow yellow mellow fellow halo below jello cello low oh hey help "
    "okra decay away cocoa bouquet obey today okapi oaken oak ochre OPEC delay relay display "
    "pillow valley follow shallow silly alone along aloe allow pollute salute believe color"
)
# The syllables of the names: (onset, vowel, end).
_SYLLABLES = {
    "computer": (("k", "@", "m"), ("pj", "u:", ""), ("t", "3", "")),
    "sunshine": (("s", "V", "n"), ("S", "aI", "n")),
}
_PHONEMES = {
    "computer": ("k", "@", "m", "p", "j", "'u:", "t", "3"),
    "sunshine": ("s", "'V", "n", "S", "aI", "n"),
    "hello": ("h", "@", "l", "'oU"),
    "okay": ("oU", "k", "'eI"),
}
# Another phoneme in its place makes another word. A voiced for an unvoiced one, or a flapped t,
# would be the same word in another accent.
_REPLACEMENTS = {
    "k": "t p",
    "m": "b l",
    "p": "t f k",
    "j": "l r",
    "u:": "oU i: 3:",
    "t": "k p s",
    "s": "S f T",
    "V": "I U i:",
    "n": "l t r",
    "S": "s f t",
    "aI": "I a i: u:",
    "h": "j w r f b",
    "l": "r n w j d",
    "oU": "u: aI i:",
    "eI": "i: u: OI I a",
}
_DELETABLE = ("k", "p", "s", "S")
_DELETED_SHARE = 0.5
_UNSTRESSED = ("@", "3")
_MAX_SYLLABLES = 4
# Of what is said between the keywords: in the training more phrases that share a part with one.
_SENTENCE_SHARE = {"train": 0.05, "tuning": 0.1, "testing": 0.1}
_PART_SHARE = 0.1
_PHRASE_SHARE = {"train": 0.5, "tuning": 0.3, "testing": 0.3}
_SWAPPED_SHARE = 0.2  # of the phrases
TRAIN = "train"
Word = Callable[[np.random.Generator], str]


def words_of(part: str) -> list[str]:
    """The other words of a part of the data; half of them are in no other part."""
    return (_COMMON + " " + _WORDS[part]).split()


def no_keyword(part: str, rng: np.random.Generator) -> str:
    """What is said between the keywords: a sentence, a word, or a phrase that is none of them.

    Two fifths share a greeting or a name with a keyword. The training has invented words as well,
    as phonemes for espeak-ng.
    """
    sentence, phrase = _SENTENCE_SHARE[part], _PHRASE_SHARE[part]
    draw = rng.random()
    word = _training_word if part == TRAIN else _word_of(part)
    if draw < sentence:
        return str(rng.choice(SENTENCES))
    if draw < sentence + _PART_SHARE:
        return str(rng.choice(GREETINGS + NAMES))
    if draw < sentence + _PART_SHARE + phrase:
        return _phrase(_word_before_name if part == TRAIN else word, word, rng)
    return word(rng)


def _phrase(before: Word, after: Word, rng: np.random.Generator) -> str:
    """A greeting with the other name or a word after it, or a name with a word before it."""
    draw, place = rng.random(), int(rng.integers(len(KEYWORDS)))
    if draw < _SWAPPED_SHARE:
        return f"{GREETINGS[place]} {NAMES[1 - place]}"
    if draw < _SWAPPED_SHARE + (1 - _SWAPPED_SHARE) / 2:
        return f"{GREETINGS[place]} {after(rng)}"
    return f"{before(rng)} {NAMES[place]}"


def _word_of(part: str) -> Word:
    words = words_of(part)
    return lambda rng: str(rng.choice(words))


def _training_word(rng: np.random.Generator) -> str:
    """A word of the training; unseen words are then like trained ones."""
    draw = rng.random()
    for make_word, fraction in _TRAINING_WORDS:
        if draw < fraction:
            return make_word(rng)
        draw -= fraction
    return str(rng.choice(words_of(TRAIN)))


def _word_before_name(rng: np.random.Generator) -> str:
    """A word of the training in the place of a greeting; half sound much like one."""
    draw = rng.random()
    if draw < 0.25:
        return near_greeting(rng)
    return edited(GREETINGS, rng) if draw < 0.5 else _training_word(rng)


def invented_word(rng: np.random.Generator) -> str:
    """A word of 1 to 4 random syllables, as phonemes for espeak-ng."""
    return _said([_syllable(rng) for _ in range(rng.integers(1, _MAX_SYLLABLES + 1))], rng)


def near_name(rng: np.random.Generator) -> str:
    """A word that is no name and sounds much like one, as phonemes for espeak-ng.

    One syllable of the name has another onset or another vowel, is replaced by a random one, or
    is left out. A further syllable may stand before or after.
    """
    syllables = list(_SYLLABLES[str(rng.choice(NAMES))])
    place = int(rng.integers(len(syllables)))
    draw = rng.random()
    if draw < 0.2:
        del syllables[place]
    else:
        syllables[place] = _different(syllables[place], rng, is_close=draw < 0.65)
    if rng.random() < 0.25:
        syllables.insert(int(rng.integers(2)) * len(syllables), _syllable(rng))
    return _said(syllables, rng)


def edited_name(rng: np.random.Generator) -> str:
    """`edited`, of a name."""
    return edited(NAMES, rng)


def edited(words: Sequence[str], rng: np.random.Generator) -> str:
    """A word with one phoneme left out or replaced by a similar one, as phonemes for espeak-ng.

    Unstressed vowels are kept: without them, it may be the word in another accent.
    """
    phonemes = list(_PHONEMES[str(rng.choice(words))])
    places = [n for n, phoneme in enumerate(phonemes) if phoneme not in _UNSTRESSED]
    place = int(rng.choice(places))
    phoneme = phonemes[place]
    if phoneme in _DELETABLE and rng.random() < _DELETED_SHARE:
        del phonemes[place]
    else:
        mark = "'" * phoneme.startswith("'")
        phonemes[place] = mark + str(rng.choice(_REPLACEMENTS[phoneme.removeprefix("'")].split()))
    return f"[[{''.join(phonemes)}]]"


def confusable_word(rng: np.random.Generator) -> str:
    """A word of the training that shares sounds with a name."""
    return str(rng.choice(_CONFUSABLE.split()))


def near_greeting(rng: np.random.Generator) -> str:
    """A word of the training that shares sounds with a greeting."""
    return str(rng.choice(_NEAR_GREETINGS.split()))


Syllable = tuple[str, str, str]


def _syllable(rng: np.random.Generator) -> Syllable:
    onset, vowel, end = (str(rng.choice(s.split())) for s in (_ONSETS, _VOWELS, _ENDS))
    return onset, vowel, "" if rng.random() < _OPEN_SHARE else end


def _different(syllable: Syllable, rng: np.random.Generator, *, is_close: bool) -> Syllable:
    """A random syllable of another onset and vowel; a close one differs in one of both."""
    onset, vowel, end = syllable
    while True:
        drawn = _syllable(rng)
        if drawn[0] != onset[:1] and drawn[1] != vowel:
            break
    if not is_close:
        return drawn
    # Unstressed vowels sound alike.
    keeps_vowel = vowel in _UNSTRESSED or rng.random() < 0.5
    return (drawn[0], vowel, end) if keeps_vowel else (onset, drawn[1], end)


def _said(syllables: list[Syllable], rng: np.random.Generator) -> str:
    stressed = int(rng.integers(len(syllables)))
    marks = ["'" if n == stressed else "" for n in range(len(syllables))]
    sounds = "".join(
        onset + mark + vowel + end
        for mark, (onset, vowel, end) in zip(marks, syllables, strict=True)
    )
    return f"[[{sounds}]]"


# Of the words of the training.
_TRAINING_WORDS: tuple[tuple[Word, float], ...] = (
    (edited_name, 0.2),
    (near_name, 0.2),
    (confusable_word, 0.1),
    (near_greeting, 0.05),
    (invented_word, 0.25),
)
