"""The two-letter codes of languages with their English names.

Source: ISO 639-1, as listed by pycountry 26.2 (Debian's iso-codes).
"""

from __future__ import annotations

_TABLE = """
aa Afar; ab Abkhazian; ae Avestan; af Afrikaans; ak Akan; am Amharic; an Aragonese; ar Arabic; as Assamese; av Avaric;
ay Aymara; az Azerbaijani; ba Bashkir; be Belarusian; bg Bulgarian; bi Bislama; bm Bambara; bn Bengali; bo Tibetan; br
Breton; bs Bosnian; ca Catalan; ce Chechen; ch Chamorro; co Corsican; cr Cree; cs Czech; cu Church_Slavic; cv Chuvash;
cy Welsh; da Danish; de German; dv Divehi; dz Dzongkha; ee Ewe; el Greek; en English; eo Esperanto; es Spanish; et
Estonian; eu Basque; fa Persian; ff Fulah; fi Finnish; fj Fijian; fo Faroese; fr French; fy Western_Frisian; ga Irish;
gd Scottish_Gaelic; gl Galician; gn Guarani; gu Gujarati; gv Manx; ha Hausa; he Hebrew; hi Hindi; ho Hiri_Motu; hr
Croatian; ht Haitian; hu Hungarian; hy Armenian; hz Herero; ia Interlingua; id Indonesian; ie Interlingue; ig Igbo; ii
Sichuan_Yi; ik Inupiaq; io Ido; is Icelandic; it Italian; iu Inuktitut; ja Japanese; jv Javanese; ka Georgian; kg Kongo;
ki Kikuyu; kj Kuanyama; kk Kazakh; kl Kalaallisut; km Khmer; kn Kannada; ko Korean; kr Kanuri; ks Kashmiri; ku Kurdish;
kv Komi; kw Cornish; ky Kirghiz; la Latin; lb Luxembourgish; lg Ganda; li Limburgan; ln Lingala; lo Lao; lt Lithuanian;
lu Luba-Katanga; lv Latvian; mg Malagasy; mh Marshallese; mi Maori; mk Macedonian; ml Malayalam; mn Mongolian; mr
Marathi; ms Malay; mt Maltese; my Burmese; na Nauru; nb Norwegian_Bokmål; nd North_Ndebele; ne Nepali; ng Ndonga; nl
Dutch; nn Norwegian_Nynorsk; no Norwegian; nr South_Ndebele; nv Navajo; ny Chichewa; oc Occitan; oj Ojibwa; om Oromo; or
Oriya; os Ossetian; pa Panjabi; pi Pali; pl Polish; ps Pushto; pt Portuguese; qu Quechua; rm Romansh; rn Rundi; ro
Romanian; ru Russian; rw Kinyarwanda; sa Sanskrit; sc Sardinian; sd Sindhi; se Northern_Sami; sg Sango; sh
Serbo-Croatian; si Sinhala; sk Slovak; sl Slovenian; sm Samoan; sn Shona; so Somali; sq Albanian; sr Serbian; ss Swati;
st Southern_Sotho; su Sundanese; sv Swedish; sw Swahili; ta Tamil; te Telugu; tg Tajik; th Thai; ti Tigrinya; tk
Turkmen; tl Tagalog; tn Tswana; to Tonga; tr Turkish; ts Tsonga; tt Tatar; tw Twi; ty Tahitian; ug Uighur; uk Ukrainian;
ur Urdu; uz Uzbek; ve Venda; vi Vietnamese; vo Volapük; wa Walloon; wo Wolof; xh Xhosa; yi Yiddish; yo Yoruba; za
Zhuang; zh Chinese; zu Zulu
"""

NAMES: dict[str, str] = {}
"""English names by two-letter code."""

_OTHERS = """
ace ary arz ast bcl ceb cmn crh dsb ext fil fuv gcf gcr gom grc gsw gug guw hbo hsb kab lij ltg nds nso pcm scn sco sdh
szl uzs vec war wuu yue
"""

OTHER_CODES: frozenset[str] = frozenset(_OTHERS.split())
"""Languages of the web without a two-letter code: those that py3langid 0.4 distinguishes, and a few more."""

for _entry in _TABLE.split(";"):
    _code, _name = _entry.split()
    NAMES[_code] = _name.replace("_", " ")
