#!/usr/bin/env python3
"""Writes variants.csv: 10 000 spellings of synthetic phone numbers, and what the reference makes of each.

The reference is Google's libphonenumber in its Python port, pinned; the fixture is the same on every machine:

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install phonenumbers==9.0.0
    /tmp/reference/bin/python crates/kernel/tests/phones/generate.py

Written with Python 3.11. A row is `raw,region,valid,e164,type`; `type` is mobile, fixed_line, fixed_line_or_mobile or
other, and empty like `e164` when the number is not valid. `region` may be empty: then only numbers with their country
code are read.

No number here is anybody's: subscriber numbers of Turkish, Russian, Arab and other ranges begin with 000, which is
not handed out; the rest are blocks that regulators keep for films (Ofcom, ARCEP, BNetzA, PTS, ACMA, and NANPA's
555-01xx). A spelling that comes out as a valid number elsewhere is dropped, see `is_synthetic`.
"""

import csv
import pathlib
import random

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

REFERENCE = "9.0.0"
SEED = 20261126
COUNT = 10_000
VALID_SHARE = 0.70

KINDS = {
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.FIXED_LINE: "fixed_line",
    PhoneNumberType.FIXED_LINE_OR_MOBILE: "fixed_line_or_mobile",
}

# Left out, because the two libraries carry metadata of different age: the reference's is 9.0.0, that of the Rust crate
# `phonenumber` 0.3.10 is 9.0.33. Turkey opened these between the two, so the newer one rightly takes them for valid.
# Nothing else is left out: every other spelling of every other number must come out alike.
EXCLUDED = {
    "90500", "90502", "90503", "90504", "90508", "90509",  # mobile
    "90550", "90556", "90557", "90558",  # mobile
    "90562", "90564", "90572", "90574", "90575",  # mobile
    "90238",  # fixed
}

TR_MOBILE = [
    "501", "505", "506", "507", "510", "516", "530", "531", "532", "533", "534", "535", "536", "537", "538", "539",
    "540", "541", "542", "543", "544", "545", "546", "549", "551", "552", "553", "554", "555", "559", "594", "596",
]
TR_FIXED = [
    "212", "216", "224", "232", "242", "258", "262", "312", "322", "332", "342", "352", "362", "392", "412", "424", "442",
    "462", "472", "482",
]
TR_OTHER = ["800", "811", "850", "888", "900", "512"]
# No plan has had them.
TR_UNASSIGNED = ["520", "521", "547", "563", "567", "568", "580", "586", "599", "700", "111", "600", "220", "298", "398"]

DASHES = ["-", "\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2212"]
SPACES = [" ", "\u00a0", "  ", "\u3000", "\u200b", "\u2060", "\u00ad"]
OTHER_SEPARATORS = [".", "/", " / ", " - ", "(", ")", "[", "]", "~", "*", "x"]
# What the reference does not take between digits.
STRANGE_SEPARATORS = ["\t", "_", ":", "\u2009", "\u202f", "\u2007", "+", "&", "|", "'", "\\", "\u200e", "e"]
SCRIPTS = [0x660, 0x6F0, 0xFF10, 0x966, 0xE50, 0x9E6, 0x1B50, 0xA8D0]
BEFORE = [
    "p:", "tel:", "Tel: ", "TEL.", "phone: ", "gsm ", "cep: ", "Cep tel: ", "numaram ", "No: ", "whatsapp ", "(", " ",
    "\u00a0", "\t", "'", '"', "=", "\u202a", "\u200e", "☎ ", "Ayşe ", "call me at ", "telefon numarası: ", "#",
]
AFTER = [" ", ".", ",", ")", "'", '"', ";", " -", "\u202c", "\u200f", "?", "!", "…", "_", "\t", "\u00a0", "/", "*", " a", " b"]
WORDS_AFTER = [
    " (cep)", " Ayşe", " ara", " evet", " cep", " sms", " dahili 12", " lütfen arayın", " akşam", " (WhatsApp)",
    " sınıf", " kızım", " İş", " no", " or mail", " ve", " #", " x", " ext", " int", " after 18:00",
]
EXTENSIONS = [
    " ext. {}", " ext {}", "ext{}", " x{}", "x{}", " X {}", "#{}", " #{}", ";ext={}", ",{}", ",,{}", ", {}", ";{}",
    " extension {}", " extn {}", " xtn {}", " int. {}", " anexo {}", " доб. {}", " ｅｘｔ {}", "~{}", "-{}#", " {}#",
    " dahili {}", " Dahili: {}", " ext:{}", " e {}", " extensión {}", "/x{}", " x12/x{}", " ｘ{}", ";;{}",
]
JUNK = [
    "", " ", "-", "+", "++", "yok", "none", "n/a", "N/A", "test", "call me", "ayse@example.com", "0", "00", "000", "1",
    "12", "123", "+90", "0090", "90", "+ 90 -", "Tel:", "p:", "tel:", "()", "05xx xxx xx xx", "5** *** ** **", "abc123",
    "12. March", "24.11.2026", "2026-11-24", "24/11/2026 14:30", "112", "155", "444", "<test lead: dummy data for phone>",
    "\u0660", "\u00b2\u00b3", "①②③", "五五五", "0x0555", "+", "＋", "＋９０", "%2B905", "null", "undefined", "0800-PIZZA",
    "1+1+1", "80+0", "http://example.com/5", "TR", "Ⅴ", "½", "tel:;phone-context=+90", "tel:12;phone-context=",
    ";phone-context=+90", ";ext=12", "ext 12", "x12", "#12", "+0", "+00", "+000", "++90", "+999 1", "000000000000000",
    "1111111111111111111111", "99999999999999999999999999",
]


def digits(rng, count):
    return "".join(rng.choice("0123456789") for _ in range(count))


def turkish(rng):
    """A number as its groups; the subscriber's part begins with 000."""
    area = rng.choices([TR_MOBILE, TR_FIXED, TR_OTHER, TR_UNASSIGNED], [70, 24, 5, 1])[0]
    return [rng.choice(area), "000", digits(rng, 2), digits(rng, 2)]


# A foreign number: region, country code, trunk prefix, groups; {} is filled with as many digits as it says.
FOREIGN = [
    ("GB", "44", "0", ["7700", "900{3}"]),
    ("GB", "44", "0", ["20", "7946", "0{3}"]),
    ("GB", "44", "0", ["113", "496", "0{3}"]),
    ("GB", "44", "0", ["161", "496", "0{3}"]),
    ("GB", "44", "0", ["29", "2018", "0{3}"]),
    ("GB", "44", "0", ["1632", "960{3}"]),
    ("GB", "44", "0", ["808", "157", "0{3}"]),
    ("GB", "44", "0", ["909", "879", "0{3}"]),
    ("US", "1", "1", ["212", "555", "01{2}"]),
    ("US", "1", "1", ["310", "555", "01{2}"]),
    ("US", "1", "1", ["415", "555", "01{2}"]),
    ("US", "1", "1", ["800", "555", "01{2}"]),
    ("CA", "1", "1", ["416", "555", "01{2}"]),
    ("CA", "1", "1", ["604", "555", "01{2}"]),
    ("JM", "1", "1", ["876", "555", "01{2}"]),
    ("AG", "1", "1", ["268", "555", "01{2}"]),
    ("DE", "49", "0", ["30", "23125", "{3}"]),
    ("DE", "49", "0", ["40", "66969", "{3}"]),
    ("DE", "49", "0", ["221", "4710", "{3}"]),
    ("DE", "49", "0", ["69", "90009", "{3}"]),
    ("DE", "49", "0", ["89", "99998", "{3}"]),
    ("DE", "49", "0", ["176", "040690", "{2}"]),
    ("FR", "33", "0", ["1", "99", "00", "{2}", "{2}"]),
    ("FR", "33", "0", ["2", "61", "91", "{2}", "{2}"]),
    ("FR", "33", "0", ["6", "39", "98", "{2}", "{2}"]),
    ("SE", "46", "0", ["8", "465", "004", "{2}"]),
    ("SE", "46", "0", ["31", "390", "06", "{2}"]),
    ("SE", "46", "0", ["70", "174", "06", "{2}"]),
    ("AU", "61", "0", ["2", "5550", "{4}"]),
    ("AU", "61", "0", ["3", "7010", "{4}"]),
    ("AU", "61", "0", ["491", "570", "{3}"]),
    ("AU", "61", "", ["1800", "975", "70{1}"]),
    ("RU", "7", "8", ["495", "000", "{2}", "{2}"]),
    ("RU", "7", "8", ["903", "000", "{2}", "{2}"]),
    ("RU", "7", "8", ["916", "000", "{2}", "{2}"]),
    ("RU", "7", "8", ["800", "000", "{2}", "{2}"]),
    ("KZ", "7", "8", ["701", "000", "{2}", "{2}"]),
    ("KZ", "7", "8", ["777", "000", "{2}", "{2}"]),
    ("AE", "971", "0", ["50", "000", "{4}"]),
    ("AE", "971", "0", ["55", "000", "{4}"]),
    ("IQ", "964", "0", ["770", "000", "{4}"]),
    ("IQ", "964", "0", ["750", "000", "{4}"]),
    ("IQ", "964", "0", ["781", "000", "{4}"]),
    ("SA", "966", "0", ["50", "000", "{4}"]),
    ("SA", "966", "0", ["55", "000", "{4}"]),
    ("AZ", "994", "0", ["50", "000", "{2}", "{2}"]),
    ("AZ", "994", "0", ["55", "000", "{2}", "{2}"]),
    ("IT", "39", "", ["06", "0000", "{4}"]),
    ("IT", "39", "", ["02", "0000", "{4}"]),
    ("IT", "39", "", ["320", "000", "{4}"]),
    ("NL", "31", "0", ["6", "1000", "0{3}"]),
    ("BE", "32", "0", ["470", "00", "{2}", "{2}"]),
    ("CH", "41", "0", ["79", "000", "{2}", "{2}"]),
    ("AT", "43", "0", ["664", "000", "{4}"]),
    ("BG", "359", "0", ["88", "000", "{4}"]),
    ("UA", "380", "0", ["67", "000", "{2}", "{2}"]),
    ("EG", "20", "0", ["10", "0000", "{4}"]),
    ("BR", "55", "0", ["11", "90000", "{4}"]),
    ("AR", "54", "0", ["11", "0000", "{4}"]),
    ("AR", "54", "", ["9", "11", "0000", "{4}"]),
    ("MX", "52", "", ["55", "0000", "{4}"]),
    ("HU", "36", "06", ["20", "000", "{4}"]),
    ("LT", "370", "0", ["612", "000", "{2}"]),
    ("SM", "378", "", ["0549", "88", "0{3}"]),
    ("", "800", "", ["0000", "{4}"]),
    ("", "870", "", ["77", "000", "{4}"]),
]
# Their beginnings, as far as they are fixed.
RESERVED = tuple("+" + code + "".join(groups).split("{")[0] for _, code, _, groups in FOREIGN)
UNKNOWN_CODES = ["999", "210", "0", "801", "384", "693", "00"]


def filled(rng, groups):
    out = []
    for group in groups:
        if "{" in group:
            head, count = group.rstrip("}").split("{")
            group = head + digits(rng, int(count))
        out.append(group)
    return out


def joined(rng, groups):
    """Groups with what people put between them: one separator throughout, or another one each time."""
    style = rng.random()
    if style < 0.25:
        return "".join(groups)
    if style < 0.5:
        return rng.choice(SPACES[:2]).join(groups)
    if style < 0.62:
        return rng.choice(DASHES).join(groups)
    if style < 0.7:
        return rng.choice([".", "/"]).join(groups)
    if style < 0.8:
        return f"({groups[0]}) " + rng.choice(["", " ", "-"]).join(groups[1:])
    if style < 0.85:
        return " ".join("".join(groups))
    separators = [rng.choice(SPACES + DASHES + OTHER_SEPARATORS) for _ in groups[1:]] + [""]
    return "".join(group + separator for group, separator in zip(groups, separators))


def prefixed(rng, number, code, trunk):
    space = rng.choice(["", "", " ", "-", "\u00a0", " - "])
    choices = [
        (5, lambda: trunk + number),
        (2, lambda: trunk + " " + number),
        (2, lambda: "(" + trunk + ") " + number),
        (4, lambda: number),
        (8, lambda: "+" + code + space + number),
        (2, lambda: "＋" + code + space + number),
        (4, lambda: "00" + code + space + number),
        (3, lambda: code + space + number),
        (2, lambda: "(+" + code + ")" + space + number),
        (2, lambda: "+" + code + " (" + trunk + ") " + number),
        (2, lambda: "+" + code + trunk + space + number),
        (1, lambda: "00 " + code + space + trunk + number),
        (1, lambda: "+ " + code + space + number),
        (1, lambda: "++" + code + space + number),
        (1, lambda: "+00" + code + space + number),
        (1, lambda: "+" + code + "+" + number),
    ]
    return rng.choices([make for _, make in choices], [weight for weight, _ in choices])[0]()


def in_script(rng, text):
    zero = rng.choice(SCRIPTS)
    return "".join(chr(zero + int(c)) if c in "0123456789" else c for c in text)


def dressed(rng, text):
    """Words, marks, extensions and other digits around a number."""
    if rng.random() < 0.12:
        text = in_script(rng, text)
    if rng.random() < 0.12:
        text += rng.choice(EXTENSIONS).format(digits(rng, rng.choice([1, 2, 3, 4, 5, 7])))
    if rng.random() < 0.22:
        text = rng.choice(BEFORE) + text
    if rng.random() < 0.12:
        text += rng.choice(AFTER)
    if rng.random() < 0.03:
        text += rng.choice(WORDS_AFTER)
    return text


def spoilt(rng, text):
    """One thing wrong with a number. The reference says whether it matters."""
    places = [at for at, c in enumerate(text) if c.isdigit()]
    how = rng.randrange(8)
    if how == 0 and places:  # too short
        for at in sorted(rng.sample(places, min(len(places), rng.randint(1, 4))), reverse=True):
            text = text[:at] + text[at + 1 :]
    elif how == 1:  # too long
        text += digits(rng, rng.randint(1, 9))
    elif how == 2 and places:  # an odd sign within
        at = rng.choice(places)
        text = text[:at] + rng.choice(STRANGE_SEPARATORS) + text[at:]
    elif how == 3:  # two numbers
        text += rng.choice([" / ", ",", ";", " ve ", " - ", "|", " "]) + joined(rng, turkish(rng))
    elif how == 4:  # letters for digits
        text = text.replace("0", "O", 1) if rng.random() < 0.5 else text.replace("1", "l", 1)
    elif how == 5 and places:  # masked
        text = text[: places[-1] - 3] + rng.choice(["****", "xxxx", "XXXX", "...."])
    elif how == 6:  # a word behind
        text += rng.choice(WORDS_AFTER)
    else:  # a code twice, or one that no country has
        twice = ["+90 90 ", "+90 +90 ", "0090 90 ", "9090", "+90 0090 ", "0 90 "]
        text = rng.choice(twice + ["+" + code for code in UNKNOWN_CODES]) + text
    return text


def rfc3966(rng, groups, code, trunk):
    number = rng.choice(["", "-", "."]).join(groups)
    return rng.choice([
        f"tel:+{code}{number}",
        f"tel:+{code}-{number};ext=12",
        f"tel:{trunk}{number};phone-context=+{code}",
        f"{number};phone-context=+{code}",
        f"tel:{trunk}{number};phone-context=example.com",
        f"tel:{trunk}{number};phone-context=+{code};isub=1",
        f"tel:+{code}{number};isub=12345",
        f"TEL:+{code}{number}",
        f"tel:{number};phone-context=",
        f"tel:{number};phone-context=+",
        f"tel:{number};phone-context=64+3",
    ])


def candidate(rng):
    """A raw text and the region in which it is read."""
    lot = rng.random()
    if lot < 0.58:
        groups, code, trunk, home = turkish(rng), "90", "0", "TR"
        region = rng.choices(["TR", "", "DE", "US", "ZZ"], [94, 2, 2, 1, 1])[0]
    elif lot < 0.90:
        home, code, trunk, groups = rng.choice(FOREIGN)
        groups = filled(rng, groups)
        region = rng.choices(["TR", home, ""], [55, 38, 7])[0]
    elif lot < 0.92:
        home, code, trunk, groups = rng.choice(FOREIGN)
        return rfc3966(rng, filled(rng, groups), code, trunk), rng.choice(["TR", home])
    elif lot < 0.935:
        return rfc3966(rng, turkish(rng), "90", "0"), "TR"
    elif lot < 0.955:
        return rng.choice(BEFORE + [""]) + rng.choice(JUNK) + rng.choice(["", "", " ", "."]), rng.choice(["TR", "TR", ""])
    elif lot < 0.975:
        return digits(rng, rng.randint(3, 20)), rng.choice(["TR", ""])
    elif lot < 0.985:  # company numbers
        return dressed(rng, joined(rng, ["444", "0", "00" + digits(rng, 1)])), "TR"
    else:  # vanity numbers
        word = rng.choice(["BABY", "FLOWERS", "taxi", "Clinic", "GO"])
        return rng.choice(["0850 000 ", "+90 850 000 ", "0 (555) 000-", "+90 555 000 ", "05550000"]) + word, "TR"
    text = dressed(rng, prefixed(rng, joined(rng, groups), code, trunk))
    if rng.random() < 0.22:
        text = spoilt(rng, text)
    return text, region


def judged(raw, region):
    """What the reference makes of a text: validity, E.164 and kind."""
    try:
        number = phonenumbers.parse(raw, region or None)
    except phonenumbers.NumberParseException:
        return ("0", "", "")
    if not phonenumbers.is_valid_number(number):
        return ("0", "", "")
    kind = KINDS.get(phonenumbers.number_type(number), "other")
    return ("1", phonenumbers.format_number(number, PhoneNumberFormat.E164), kind)


def is_synthetic(e164):
    """Whether a valid number is one that nobody has."""
    if e164.startswith("+90"):
        return e164[6:9] == "000" or e164.startswith("+90444000")
    if e164.startswith("+1"):
        return e164[5:10] == "55501"
    # Turkish digits that are read as a German number keep their 000.
    return e164.startswith(RESERVED) or (e164.startswith("+49") and e164[6:9] == "000")


def is_excluded(raw, region):
    try:
        number = phonenumbers.parse(raw, region or None)
    except phonenumbers.NumberParseException:
        return False
    e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:]
    return len(e164) == 12 and e164[:5] in EXCLUDED


def main():
    assert phonenumbers.__version__ == REFERENCE, f"the fixture is made with phonenumbers {REFERENCE}"
    rng = random.Random(SEED)
    wanted = {"1": round(COUNT * VALID_SHARE), "0": COUNT - round(COUNT * VALID_SHARE)}
    rows, seen = [], set()
    while len(rows) < COUNT:
        raw, region = candidate(rng)
        assert "\n" not in raw and "\r" not in raw
        if (raw, region) in seen or is_excluded(raw, region):
            continue
        seen.add((raw, region))
        valid, e164, kind = judged(raw, region)
        if wanted[valid] == 0 or (e164 and not is_synthetic(e164)):
            continue
        wanted[valid] -= 1
        rows.append((raw, region, valid, e164, kind))
    with open(pathlib.Path(__file__).with_name("variants.csv"), "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("raw", "region", "valid", "e164", "type"))
        writer.writerows(rows)


if __name__ == "__main__":
    main()
