// Words for people: reasons, errors, paths, times. The server's codes are for
// programs; none is ever shown.

import { isMissed } from './switchboard.js'

/** @typedef {import('./switchboard.js').Call} Call */
/** @typedef {import('./switchboard.js').Path} Path */
/** @typedef {import('./switchboard.js').PastCall} PastCall */

/** Why a call ended: when the other side did it or nobody, and when we did. */
const reasons = {
  hangup: ['Call ended', 'Call ended'],
  canceled: ['Missed call', 'Cancelled'],
  declined: ['Declined', 'Declined'],
  busy: ['Busy', 'You were in another call'],
  no_answer: ['No answer', 'No answer'],
  unreachable: ['Nobody could be reached at this number', 'Not reachable'],
  answered_elsewhere: ['Answered on another phone', 'Answered on another phone'],
  declined_elsewhere: ['Declined on another phone', 'Declined on another phone'],
  merged: ['You called each other', 'You called each other'],
  ice_failed: ['No connection between you could be made', 'No connection between you could be made'],
  connection_lost: ['The connection was lost', 'The connection was lost'],
  media_failed: ['Microphone or camera failed on the other side', 'Microphone or camera failed'],
  replaced: ['Called again', 'Called again']
}

/** What went wrong, by the code of an error. */
const errors = {
  malformed: 'Something is wrong with this page. Please reload it.',
  invalid: 'That cannot be right. Please check what you entered.',
  unsupported: 'That cannot be done here.',
  too_large: 'That is too long to be sent.',
  bad_number: 'That is not a phone number.',
  conflict: 'That was sent before with other words.',
  self: 'That is your own number.',
  bad_token: 'Your registration has expired.',
  bad_code: 'That code is not right.',
  code_expired: 'That code has expired. Please ask for a new one.',
  forbidden: 'That cannot be done here.',
  rate_limited: 'That was too often. Please wait a moment.',
  too_many: 'There are as many of these as there may be.',
  mailbox_full: 'Their mailbox is full.',
  devices_changed: 'They have added or removed a phone. Send it again.',
  not_found: 'There is no such number here.',
  call_unknown: 'That call is over.',
  call_state: 'That call has changed in the meantime.',
  call_ended: 'That call is over.',
  unavailable: 'The service is not available at the moment. Please try again.',
  internal: 'The server made a mistake. Please try again.',
  offline: 'You are offline.',
  timeout: 'The server did not answer.',
  network: 'The server could not be reached.',
  stopped: 'This phone is not connected.'
}

/** Why a number is none. */
const numberTroubles = {
  not_a_number: 'That is not a phone number.',
  unknown_region: 'Please choose a country, or start with + and the country code.',
  too_short: 'That number is too short.',
  too_long: 'That number is too long.',
  not_assignable: 'There can be no such number.',
  not_e164: 'Please start with + and the country code.',
  extension_given: 'Extensions cannot be called.'
}

/** Why the session ended for good: a title, a sentence, what the button does. */
const stops = {
  bad_token: ['Your registration has expired', 'Register this number again to go on. Your conversations are still here.', 'Register again'],
  replaced: ['In use in another tab', 'This phone is open in another tab or window.', 'Use it here'],
  protocol: ['Something went wrong', 'This page and the server do not understand each other. A reload usually helps.', 'Reload'],
  flood: ['Too much at once', 'The server has closed the connection because too much was sent.', 'Connect again'],
  bye: ['Signed off', 'This phone is not connected.', 'Connect again'],
  other: ['Disconnected', 'The server has ended the connection.', 'Connect again']
}

/** Which way calls go, by the setting of whom one's address is kept from; or when the page's own address says it. */
export const relayedWords = {
  strangers: 'Calls with strangers go through a relay until they are answered, so that nobody learns where you are by ringing. Calls with your contacts go straight.',
  everyone: 'All calls go through a relay, on all phones with your number: nobody learns your address. A little slower.',
  nobody: 'Calls go straight, which is fastest. Whoever you call, and whoever calls you, can see your address.',
  query: 'This page was opened with ?relay: its calls go through a relay alone. The choice is for your other phones.'
}

/** @param {any} e @returns {string} */
export function errorWords(e) {
  if (e?.code === 'media' || e?.code === 'push') return e.message
  if (e?.code === 'bad_number') return numberTroubles[/** @type {keyof numberTroubles} */ (e.info?.reason)] || errors.bad_number
  if (e?.code === 'bad_code' && e.info?.attempts_left) {
    const n = Number(e.info.attempts_left)
    return n === 1 ? 'That code is not right. One more try.' : `That code is not right. ${n} more tries.`
  }
  if (e?.code === 'rate_limited' && e.afterMS > 2000) return `That was too often. Please try again in ${spanWords(e.afterMS)}.`
  return errors[/** @type {keyof errors} */ (e?.code)] || e?.message || 'Something went wrong.'
}

/** @param {string|undefined} name @returns {string[]} */
export const stopWords = (name) => stops[/** @type {keyof stops} */ (name)] || stops.other

/** @param {Call} call */
export function endWords(call) {
  if (call.error) return errorWords(call.error)
  const [theirs, mine] = reasons[/** @type {keyof reasons} */ (call.reason)] || ['Call ended', 'Call ended']
  if (call.reason === 'canceled' && call.role === 'callee') return call.mine ? 'Declined' : 'Missed call'
  if (call.reason === 'unreachable') return theirs
  return call.mine ? mine : theirs
}

/** @param {Call} call */
export function stateWords(call) {
  switch (call.state) {
    case 'starting': return 'Getting ready…'
    case 'trying': return 'Calling…'
    case 'ringing': return call.role === 'caller' ? (call.peerInCall ? 'Ringing, they are in another call…' : 'Ringing…') : call.media.includes('video') ? 'Incoming video call' : 'Incoming call'
    case 'connecting': return 'Connecting…'
    case 'reconnecting': return 'Reconnecting…'
    case 'ended': return endWords(call)
    default: return ''
  }
}

/** @param {Path|null} path */
export function pathWords(path) {
  if (!path) return ''
  if (path.local === 'relay') return `relayed over ${(path.relay || 'udp').toUpperCase()}`
  if (path.remote === 'relay') return 'relayed by the other side'
  if (path.protocol === 'tcp') return 'direct over TCP'
  return path.local === 'host' && path.remote === 'host' ? 'direct, same network' : 'direct'
}

/** What became of a call that is over: of one that came, and of one that was placed. */
const past = {
  canceled: ['Declined', 'Cancelled'], // one that the caller gave up is missed
  declined: ['Declined', 'They declined'],
  busy: ['Busy', 'Busy'],
  no_answer: ['No answer', 'No answer'],
  unreachable: ['Not reachable', 'Not reachable'],
  answered_elsewhere: ['Answered on another phone', 'Answered on another phone'],
  declined_elsewhere: ['Declined on another phone', 'Declined on another phone'],
  ice_failed: ['No connection could be made', 'No connection could be made'],
  media_failed: ['Microphone or camera failed', 'Microphone or camera failed'],
  replaced: ['They called again', 'You called again']
}

/** @param {PastCall} c */
export function pastWords(c) {
  if (isMissed(c)) return c.reason === 'busy' ? 'Missed while in a call' : 'Missed'
  const word = past[/** @type {keyof past} */ (c.reason)]?.[c.out ? 1 : 0]
  if (!c.answered) return word || 'Not connected'
  if (c.reason === 'ice_failed') return word || '' // it was answered, and nobody was heard
  return [word, durationWords(c.duration), c.reason === 'connection_lost' && 'connection lost'].filter(Boolean).join(', ')
}

/** Which way a call went, for who cannot see the arrow. @param {PastCall} c */
export const wayWords = (c) => c.out ? 'Outgoing' : 'Incoming'

/** @param {number} ms a duration as on a telephone: 0:42, 12:05, 1:02:03 */
export function durationWords(ms) {
  const s = Math.max(0, Math.round(ms / 1000))
  const two = (/** @type {number} */ n) => String(n).padStart(2, '0')
  const h = Math.floor(s / 3600)
  return h ? `${h}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}` : `${Math.floor(s / 60)}:${two(s % 60)}`
}

/** @param {number} ms a wait, in words */
function spanWords(ms) {
  const s = Math.ceil(ms / 1000)
  if (s < 100) return s === 1 ? 'a second' : `${s} seconds`
  const m = Math.ceil(s / 60)
  return m < 100 ? `${m} minutes` : `${Math.ceil(m / 60)} hours`
}

/** @param {number} ms Unix time; in a list, as short as it can be */
export function whenWords(ms) {
  const d = new Date(ms)
  const days = daysAgo(ms)
  if (days === 0) return clock(ms)
  if (days === 1) return 'Yesterday'
  if (days < 7) return d.toLocaleDateString(undefined, { weekday: 'short' })
  return d.toLocaleDateString(undefined, { day: 'numeric', month: 'short' })
}

/** @param {number} ms */
export function dayWords(ms) {
  const days = daysAgo(ms)
  if (days === 0) return 'Today'
  if (days === 1) return 'Yesterday'
  return new Date(ms).toLocaleDateString(undefined, { weekday: 'long', day: 'numeric', month: 'long' })
}

/** @param {number} ms */
export const clock = (ms) => new Date(ms).toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' })

/** @param {number} ms */
export function daysAgo(ms) {
  const midnight = (/** @type {Date} */ d) => new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime()
  return Math.round((midnight(new Date()) - midnight(new Date(ms))) / 86_400_000)
}

/** @param {{online: boolean, last_seen?: number}|null|undefined} p */
export function presenceWords(p) {
  if (!p) return ''
  if (p.online) return 'online'
  if (!p.last_seen) return ''
  const minutes = Math.round((Date.now() - p.last_seen) / 60_000)
  if (minutes < 1) return 'last seen just now'
  if (minutes < 60) return `last seen ${minutes} min ago`
  const days = daysAgo(p.last_seen)
  return days === 0 ? `last seen today at ${clock(p.last_seen)}` : days === 1 ? `last seen yesterday at ${clock(p.last_seen)}` : `last seen ${whenWords(p.last_seen)}`
}
