// Countries, their calling codes, and how a number is written for people. The
// server reads numbers with libphonenumber; this is for looks alone.

const table = 'AC247 AD376 AE971 AF93 AG1 AI1 AL355 AM374 AO244 AR54 AS1 AT43 AU61 AW297 AX358 AZ994 BA387 BB1 BD880 BE32 BF226 BG359 BH973 BI257 BJ229 BL590 BM1 BN673 BO591 BQ599 BR55 BS1 BT975 BW267 BY375 BZ501 CA1 CC61 CD243 CF236 CG242 CH41 CI225 CK682 CL56 CM237 CN86 CO57 CR506 CU53 CV238 CW599 CX61 CY357 CZ420 DE49 DJ253 DK45 DM1 DO1 DZ213 EC593 EE372 EG20 EH212 ER291 ES34 ET251 FI358 FJ679 FK500 FM691 FO298 FR33 GA241 GB44 GD1 GE995 GF594 GG44 GH233 GI350 GL299 GM220 GN224 GP590 GQ240 GR30 GT502 GU1 GW245 GY592 HK852 HN504 HR385 HT509 HU36 ID62 IE353 IL972 IM44 IN91 IO246 IQ964 IR98 IS354 IT39 JE44 JM1 JO962 JP81 KE254 KG996 KH855 KI686 KM269 KN1 KP850 KR82 KW965 KY1 KZ7 LA856 LB961 LC1 LI423 LK94 LR231 LS266 LT370 LU352 LV371 LY218 MA212 MC377 MD373 ME382 MF590 MG261 MH692 MK389 ML223 MM95 MN976 MO853 MP1 MQ596 MR222 MS1 MT356 MU230 MV960 MW265 MX52 MY60 MZ258 NA264 NC687 NE227 NF672 NG234 NI505 NL31 NO47 NP977 NR674 NU683 NZ64 OM968 PA507 PE51 PF689 PG675 PH63 PK92 PL48 PM508 PR1 PS970 PT351 PW680 PY595 QA974 RE262 RO40 RS381 RU7 RW250 SA966 SB677 SC248 SD249 SE46 SG65 SH290 SI386 SJ47 SK421 SL232 SM378 SN221 SO252 SR597 SS211 ST239 SV503 SX1 SY963 SZ268 TA290 TC1 TD235 TG228 TH66 TJ992 TK690 TL670 TM993 TN216 TO676 TR90 TT1 TV688 TW886 TZ255 UA380 UG256 US1 UY598 UZ998 VA39 VC1 VE58 VG1 VI1 VN84 VU678 WF681 WS685 XK383 YE967 YT262 ZA27 ZM260 ZW263'

/** Where several countries share a code, whose it is when nothing else is known. */
const owners = /** @type {Record<string, string>} */ ({ 1: 'US', 7: 'RU', 39: 'IT', 44: 'GB', 47: 'NO', 61: 'AU', 212: 'MA', 262: 'RE', 290: 'SH', 358: 'FI', 590: 'GP', 599: 'CW' })

/** @type {Record<string, string>} region to calling code */
const codes = {}
/** @type {Record<string, string>} calling code to region */
const regions = {}
for (const entry of table.split(' ')) {
  const [region, code] = [entry.slice(0, 2), entry.slice(2)]
  codes[region] = code
  regions[code] = owners[code] || region
}

/** @returns {{region: string, code: string, name: string}[]} by name, in the browser's language */
export function countries() {
  const names = new Intl.DisplayNames(undefined, { type: 'region', fallback: 'code' })
  return Object.entries(codes)
    .map(([region, code]) => ({ region, code, name: names.of(region) || region }))
    .sort((a, b) => a.name.localeCompare(b.name))
}

/** @param {string} region */
export const callingCode = (region) => codes[region] || ''

/** The country that the browser's language speaks of. */
export function defaultRegion() {
  for (const tag of navigator.languages || [navigator.language]) {
    try {
      const region = new Intl.Locale(tag).region
      if (region && codes[region]) return region
    } catch { /* not a locale */ }
  }
  try {
    const region = new Intl.Locale(navigator.language).maximize().region
    if (region && codes[region]) return region
  } catch { /* neither */ }
  return 'US'
}

/** @param {string} number starting with + @returns {string} the calling code, or '' */
export function codeOf(number) {
  for (let n = 3; n > 0; n--) if (regions[number.slice(1, 1 + n)]) return number.slice(1, 1 + n)
  return ''
}

/** @param {string} number @returns {string} a country with that calling code, or '' */
export const regionOf = (number) => regions[codeOf(number)] || ''

/** Groups the digits of a number as one reads them out. @param {string} number */
export function pretty(number) {
  if (!/^\+\d{5,15}$/.test(number)) return number
  const code = codeOf(number)
  const rest = number.slice(1 + code.length)
  if (code === '1' && rest.length === 10) return `+1 ${rest.slice(0, 3)} ${rest.slice(3, 6)} ${rest.slice(6)}`
  const groups = rest.match(/\d{1,3}/g) || []
  if (groups.length > 1 && groups[groups.length - 1].length === 1) groups.splice(-2, 2, groups.slice(-2).join(''))
  return `+${code} ${groups.join(' ')}`
}
