"""The two-letter codes of languages with their three-letter ones and English names.

Source: ISO 639-1, 639-2 (terminological and bibliographic codes) and 639-3, as pycountry 26.2 (Debian's iso-codes)
lists them.
"""

from __future__ import annotations

_TABLE = """
aa aar Afar; ab abk Abkhazian; ae ave Avestan; af afr Afrikaans; ak aka Akan; am amh Amharic; an arg Aragonese; ar ara
Arabic; as asm Assamese; av ava Avaric; ay aym Aymara; az aze Azerbaijani; ba bak Bashkir; be bel Belarusian; bg bul
Bulgarian; bi bis Bislama; bm bam Bambara; bn ben Bengali; bo bod/tib Tibetan; br bre Breton; bs bos Bosnian; ca cat
Catalan; ce che Chechen; ch cha Chamorro; co cos Corsican; cr cre Cree; cs ces/cze Czech; cu chu Church_Slavic; cv chv
Chuvash; cy cym/wel Welsh; da dan Danish; de deu/ger German; dv div Divehi; dz dzo Dzongkha; ee ewe Ewe; el ell/gre
Greek; en eng English; eo epo Esperanto; es spa Spanish; et est Estonian; eu eus/baq Basque; fa fas/per Persian; ff
ful Fulah; fi fin Finnish; fj fij Fijian; fo fao Faroese; fr fra/fre French; fy fry Western_Frisian; ga gle Irish; gd
gla Scottish_Gaelic; gl glg Galician; gn grn Guarani; gu guj Gujarati; gv glv Manx; ha hau Hausa; he heb Hebrew; hi
hin Hindi; ho hmo Hiri_Motu; hr hrv Croatian; ht hat Haitian; hu hun Hungarian; hy hye/arm Armenian; hz her Herero; ia
ina Interlingua; id ind Indonesian; ie ile Interlingue; ig ibo Igbo; ii iii Sichuan_Yi; ik ipk Inupiaq; io ido Ido; is
isl/ice Icelandic; it ita Italian; iu iku Inuktitut; ja jpn Japanese; jv jav Javanese; ka kat/geo Georgian; kg kon
Kongo; ki kik Kikuyu; kj kua Kuanyama; kk kaz Kazakh; kl kal Kalaallisut; km khm Khmer; kn kan Kannada; ko kor Korean;
kr kau Kanuri; ks kas Kashmiri; ku kur Kurdish; kv kom Komi; kw cor Cornish; ky kir Kirghiz; la lat Latin; lb ltz
Luxembourgish; lg lug Ganda; li lim Limburgan; ln lin Lingala; lo lao Lao; lt lit Lithuanian; lu lub Luba-Katanga; lv
lav Latvian; mg mlg Malagasy; mh mah Marshallese; mi mri/mao Maori; mk mkd/mac Macedonian; ml mal Malayalam; mn mon
Mongolian; mr mar Marathi; ms msa/may Malay; mt mlt Maltese; my mya/bur Burmese; na nau Nauru; nb nob
Norwegian_Bokmål; nd nde North_Ndebele; ne nep Nepali; ng ndo Ndonga; nl nld/dut Dutch; nn nno Norwegian_Nynorsk; no
nor Norwegian; nr nbl South_Ndebele; nv nav Navajo; ny nya Chichewa; oc oci Occitan; oj oji Ojibwa; om orm Oromo; or
ori Oriya; os oss Ossetian; pa pan Panjabi; pi pli Pali; pl pol Polish; ps pus Pushto; pt por Portuguese; qu que
Quechua; rm roh Romansh; rn run Rundi; ro ron/rum Romanian; ru rus Russian; rw kin Kinyarwanda; sa san Sanskrit; sc
srd Sardinian; sd snd Sindhi; se sme Northern_Sami; sg sag Sango; sh hbs Serbo-Croatian; si sin Sinhala; sk slk/slo
Slovak; sl slv Slovenian; sm smo Samoan; sn sna Shona; so som Somali; sq sqi/alb Albanian; sr srp Serbian; ss ssw
Swati; st sot Southern_Sotho; su sun Sundanese; sv swe Swedish; sw swa Swahili; ta tam Tamil; te tel Telugu; tg tgk
Tajik; th tha Thai; ti tir Tigrinya; tk tuk Turkmen; tl tgl Tagalog; tn tsn Tswana; to ton Tonga; tr tur Turkish; ts
tso Tsonga; tt tat Tatar; tw twi Twi; ty tah Tahitian; ug uig Uighur; uk ukr Ukrainian; ur urd Urdu; uz uzb Uzbek; ve
ven Venda; vi vie Vietnamese; vo vol Volapük; wa wln Walloon; wo wol Wolof; xh xho Xhosa; yi yid Yiddish; yo yor
Yoruba; za zha Zhuang; zh zho/chi Chinese; zu zul Zulu
"""

NAMES: dict[str, str] = {}
"""English names by two-letter code."""

TWO_LETTERS: dict[str, str] = {}
"""Two-letter codes by three-letter code."""

_OTHERS = """
ace ary arz ast bcl ceb cmn crh dsb ext fil fuv gcf gcr gom grc gsw gug guw hbo hsb kab lij ltg nds nso pcm scn sco sdh
szl uzs vec war wuu yue
"""

OTHER_CODES: frozenset[str] = frozenset(_OTHERS.split())
"""Languages without a two-letter code that are met on the web: those that py3langid 0.4 tells apart, and a few more."""

for _entry in _TABLE.split(";"):
    _code, _long, _name = _entry.split()
    NAMES[_code] = _name.replace("_", " ")
    for _one in _long.split("/"):
        TWO_LETTERS[_one] = _code
