"""The minor units of ISO 4217, from the standard's own list: display data often says otherwise (CLP, ISK, IQD)."""

from __future__ import annotations

from collections.abc import Mapping

_WITHOUT_MINOR_UNITS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_HUNDREDTHS = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY
    COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR
    IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD
    NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP
    SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
"""
_THOUSANDTHS = "BHD IQD JOD KWD LYD OMR TND"
_TEN_THOUSANDTHS = "CLF UYW"

EXPONENTS: Mapping[str, int] = {
    code: exponent
    for exponent, codes in ((0, _WITHOUT_MINOR_UNITS), (2, _HUNDREDTHS), (3, _THOUSANDTHS), (4, _TEN_THOUSANDTHS))
    for code in codes.split()
}
"""How many decimal places the minor unit of a currency has."""


def shown(amount: int, currency: str) -> str:
    """Minor units as people write them: `48,000.00 EUR`."""
    exponent = EXPONENTS[currency]
    whole, rest = divmod(abs(amount), 10**exponent)
    cents = f".{rest:0{exponent}d}" if exponent else ""
    return f"{'-' if amount < 0 else ''}{whole:,}{cents} {currency}"
