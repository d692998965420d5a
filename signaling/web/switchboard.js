// @ts-check
/**
 * Switchboard in a browser: calls and texts by phone number. One module, no
 * build step, no dependency.
 *
 *     import { Client, Store, requestCode, confirm } from '/switchboard.js'
 *
 *     const asked = await requestCode({ number: '+14155550101' })
 *     const store = new Store()
 *     store.saveDevice(await confirm({ verification: asked.verification, code: '123456' }))
 *
 *     const client = new Client({ store })
 *     client.addEventListener('call', (e) => e.detail.accept({ video: true }))
 *     await client.connect()
 *     const call = client.call('+14155550102', { video: true })
 *     call.addEventListener('change', () => { video.srcObject = call.remoteStream })
 *     client.sendText('+14155550102', 'hello')
 *
 * What it promises:
 *  - a lost connection comes back by itself, with the same session where the
 *    server still has it; a hang-up, an answer, a text that could not be sent
 *    is kept and sent again under the same id until the server has answered;
 *  - a frame, a text or a call that comes twice is handled once;
 *  - a closed socket never ends a call; media that stops is restarted;
 *  - a node that the server names as better, or that takes over from one that
 *    stops, is gone to when nothing is going on, or when it must be;
 *  - texts are in local storage before they are acknowledged.
 *
 * PROTOCOL.md, beside the server, is the same wire in words.
 *
 * @module switchboard
 */

export const VERSION = '1.0'
export const SUBPROTOCOL = 'switchboard.v1'
export const SOCKET_PATH = '/v1/ws'

const freeze = Object.freeze

/**
 * Every message: who sends it, whether the server numbers it and keeps it until
 * it is acknowledged, whether the answer to it carries something.
 *
 * @type {Readonly<Record<string, {from: 'client'|'server'|'both', reliable?: boolean, reply?: boolean}>>}
 */
export const TYPES = freeze({
  "hello":                {"from": "client"},
  "welcome":              {"from": "server"},
  "ok":                   {"from": "server"},
  "err":                  {"from": "server"},
  "ping":                 {"from": "client"},
  "pong":                 {"from": "server"},
  "ack":                  {"from": "client"},
  "bye":                  {"from": "client"},
  "going_away":           {"from": "server"},
  "ice.get":              {"from": "client", "reply": true},
  "call.invite":          {"from": "client", "reply": true},
  "call.incoming":        {"from": "server", "reliable": true},
  "call.ringing":         {"from": "both", "reliable": true},
  "call.prepare":         {"from": "client", "reply": true},
  "call.prepared":        {"from": "server", "reliable": true},
  "call.answer":          {"from": "client", "reply": true},
  "call.answered":        {"from": "server", "reliable": true},
  "call.reject":          {"from": "client", "reply": true},
  "call.busy":            {"from": "client", "reply": true},
  "call.cancel":          {"from": "client", "reply": true},
  "call.hangup":          {"from": "client", "reply": true},
  "call.candidates":      {"from": "both", "reliable": true},
  "call.describe":        {"from": "both", "reliable": true, "reply": true},
  "call.report":          {"from": "client"},
  "call.state":           {"from": "server", "reliable": true},
  "call.ended":           {"from": "server", "reliable": true},
  "call.sync":            {"from": "client", "reply": true},
  "message.send":         {"from": "client", "reply": true},
  "message.read":         {"from": "client"},
  "devices.get":          {"from": "client", "reply": true},
  "keys.set":             {"from": "client"},
  "push.set":             {"from": "client"},
  "mailbox.item":         {"from": "server"},
  "mailbox.ack":          {"from": "client"},
  "mailbox.drained":      {"from": "server"},
  "typing":               {"from": "both"},
  "presence.get":         {"from": "client", "reply": true},
  "presence.subscribe":   {"from": "client", "reply": true},
  "presence.unsubscribe": {"from": "client"},
  "presence":             {"from": "server"},
  "settings.get":         {"from": "client", "reply": true},
  "settings.set":         {"from": "client", "reply": true},
  "settings":             {"from": "server", "reliable": true},
  "contacts.sync":        {"from": "client", "reply": true},
  "contacts.remove":      {"from": "client"},
  "block.add":            {"from": "client"},
  "block.remove":         {"from": "client"},
  "block.list":           {"from": "client", "reply": true}
})

/** Why a server closed the socket. From 4500 on it must not be opened again. */
export const CLOSE_CODES = freeze({
  "4000": "going_away",
  "4001": "heartbeat",
  "4002": "slow",
  "4003": "lease_lost",
  "4004": "internal",
  "4005": "operator",
  "4006": "number_changed",
  "4007": "no_hello",
  "4500": "bad_token",
  "4501": "protocol",
  "4502": "replaced",
  "4503": "bye",
  "4504": "flood"
})

/** What can be wrong with a request, by category, and whether a retry may help. */
export const ERROR_CODES = freeze({
  "malformed":    {"cat": "request", "retry": false},
  "invalid":      {"cat": "request", "retry": false},
  "unsupported":  {"cat": "request", "retry": false},
  "too_large":    {"cat": "request", "retry": false},
  "bad_number":   {"cat": "request", "retry": false},
  "conflict":     {"cat": "request", "retry": false},
  "self":         {"cat": "request", "retry": false},
  "bad_token":    {"cat": "auth", "retry": false},
  "bad_code":     {"cat": "auth", "retry": true},
  "code_expired": {"cat": "auth", "retry": false},
  "forbidden":    {"cat": "request", "retry": false},
  "rate_limited": {"cat": "limit", "retry": true},
  "too_many":     {"cat": "limit", "retry": false},
  "mailbox_full": {"cat": "limit", "retry": false},
  "devices_changed": {"cat": "state", "retry": false},
  "not_found":    {"cat": "not_found", "retry": false},
  "call_unknown": {"cat": "not_found", "retry": false},
  "call_state":   {"cat": "state", "retry": false},
  "call_ended":   {"cat": "state", "retry": false},
  "unavailable":  {"cat": "server", "retry": true},
  "internal":     {"cat": "server", "retry": true}
})

/** Why a call ended. */
export const REASONS = freeze([
  "hangup", "canceled", "declined", "busy", "no_answer", "unreachable",
  "answered_elsewhere", "declined_elsewhere", "merged", "ice_failed",
  "connection_lost", "media_failed", "replaced"
])

/** The states of a call, as the server knows them. */
export const STATES = freeze(["trying", "ringing", "connecting", "active", "reconnecting", "ended"])

/** What a mailbox item can be. */
export const KINDS = freeze(["message", "delivered", "read", "call"])

/**
 * What the SDK itself reports, beside the server's codes, in
 * {@link SwitchboardError.code}: `offline` (not connected and the deadline has
 * passed, or the connection broke), `timeout` (no answer in time), `stopped`
 * (the session has ended for good), `media` (microphone or camera could not be
 * opened), `network` (HTTP did not get through), `push` (the browser would not
 * subscribe to Web Push).
 */
export const LOCAL_CODES = freeze(["offline", "timeout", "stopped", "media", "network", "push"])

/** @typedef {{urls: string[], username?: string, credential?: string}} ICEServer */
/** @typedef {{servers: ICEServer[], ttl_ms?: number, policy?: 'relay'|'relay_first'}} ICE */
/** @typedef {'audio'|'video'} Media */
/** @typedef {{local: string, remote: string, protocol: string, relay?: string, server?: string}} Path */
/** @typedef {'starting'|'trying'|'ringing'|'connecting'|'active'|'reconnecting'|'ended'} CallPhase */
/** @typedef {'caller'|'callee'} Role */
/** @typedef {{account: string, device: number, number: string, token: string, expires_ms: number}} TokenReply */
/** @typedef {{account: string, device: number, number: string, token: string, obtained: number, expires: number}} Device */
/** @typedef {{device: number, name: string, created: number, renewed: number, online: boolean, since?: number, this?: boolean}} DeviceInfo */
/** @typedef {{verification: string, number: string, digits: number, expires_ms: number, resend_ms: number, attempts_left: number}} Asked */
/** @typedef {{number: string, online: boolean, last_seen?: number}} Presence */
/** @typedef {'everyone'|'contacts'|'nobody'} Audience */
/** @typedef {{last_seen: Audience, discoverable: 'everyone'|'nobody', read_receipts: 'everyone'|'nobody', relayed: 'nobody'|'strangers'|'everyone'}} Settings */
/** @typedef {{microphone: string, camera: string, speaker: string}} Chosen */
/** @typedef {{id: string, label: string}} Source */
/** @typedef {{microphones: Source[], cameras: Source[], speakers: Source[]}} Sources */
/** @typedef {{audio: boolean, video: boolean, microphone?: string, camera?: string}} Wanted */
/** @typedef {{given: string, number?: string, is: 'here'|'none'|'junk'}} Contact */
/** @typedef {'pending'|'stored'|'delivered'|'read'|'received'|'failed'} TextState */
/** @typedef {{id: string, out: boolean, body: string, type: string, time: number, state: TextState, error?: string, life?: number, expires?: number, device?: number, payloads?: Payload[], ownPayloads?: Payload[]}} Text */
/** @typedef {{device: number, body: string}} Payload */
/** @typedef {{kind: 'webhook'|'webpush', token?: string, endpoint?: string, p256dh?: string, auth?: string}} PushTarget */
/** @typedef {{number: string, texts: Text[], unread: number, read: string, time: number}} Conversation */
/** @typedef {{call: string, peer: string, out: boolean, video: boolean, time: number, reason: string, mine: boolean, answered: boolean, duration: number, seen: boolean}} PastCall */
/** @typedef {{code: string, cat?: string, retry?: boolean, after_ms?: number, msg?: string, info?: Record<string, string>}} WireError */

/** What went wrong, for programs (`code`) and for people (`message`). */
export class SwitchboardError extends Error {
  /** @param {WireError} e */
  constructor(e) {
    super(e.msg || e.code)
    this.name = 'SwitchboardError'
    /** One of {@link ERROR_CODES} or {@link LOCAL_CODES}. */
    this.code = e.code
    this.category = e.cat || 'local'
    /** Whether the same request may succeed later, after `afterMS`. */
    this.retry = Boolean(e.retry)
    this.afterMS = e.after_ms || 0
    /** @type {Record<string, string>} */
    this.info = e.info || {}
  }
}

/** @param {string} code @param {string} msg @param {boolean} [retry] */
const localError = (code, msg, retry = false) => new SwitchboardError({ code, msg, retry })

// ---------------------------------------------------------------- registration

/** @typedef {{base?: string, fetch?: typeof fetch}} HTTPOptions */

/**
 * Asks for a one-time code.
 *
 * @param {{number: string, region?: string} & HTTPOptions} o `number` in any way
 *   of writing it; `region` is the country to read it in when it has no +.
 * @returns {Promise<Asked>} throws a {@link SwitchboardError}: bad_number, rate_limited, unavailable
 */
export function requestCode({ number, region, ...http }) {
  return post('/v1/register', { body: { number, region: region || undefined }, ...http })
}

/**
 * Gives the code and gets a device with its token. Keep it with
 * {@link Store.saveDevice}.
 *
 * @param {{verification: string, code: string, device?: string} & HTTPOptions} o
 * @returns {Promise<TokenReply>} throws a {@link SwitchboardError}: bad_code (`info.attempts_left`), code_expired, rate_limited
 */
export function confirm({ verification, code, device, ...http }) {
  return post('/v1/register/confirm', { body: { verification, code, device }, ...http })
}

/**
 * Changes a token that is still good for one that lasts longer.
 *
 * @param {{token: string} & HTTPOptions} o
 * @returns {Promise<TokenReply>} throws a {@link SwitchboardError}: bad_token
 */
export function refresh({ token, ...http }) {
  return post('/v1/token/refresh', { token, ...http })
}

/**
 * Revokes a token: the device is gone.
 *
 * @param {{token: string} & HTTPOptions} o
 * @returns {Promise<void>}
 */
export async function revoke({ token, ...http }) {
  await post('/v1/token/revoke', { token, ...http })
}

// -------------------------------------------------------------------- account

/**
 * Lists the devices of the token's account.
 *
 * @param {{token: string} & HTTPOptions} o
 * @returns {Promise<DeviceInfo[]>} throws a {@link SwitchboardError}: bad_token, as do the following
 */
export async function listDevices({ token, ...http }) {
  return (await ask('GET', '/v1/devices', { token, ...http })).devices
}

/**
 * Gives a device of the account a name of 1 to 64 characters.
 *
 * @param {{token: string, device: number, name: string} & HTTPOptions} o
 * @returns {Promise<DeviceInfo>} throws a {@link SwitchboardError}: invalid, not_found
 */
export function nameDevice({ token, device, name, ...http }) {
  return ask('PATCH', `/v1/devices/${device}`, { token, body: { name }, ...http })
}

/**
 * Removes a device of the account, this one or another. Its session ends at once.
 *
 * @param {{token: string, device: number} & HTTPOptions} o
 * @returns {Promise<void>} throws a {@link SwitchboardError}: not_found, which is also said when it is gone already
 */
export async function removeDevice({ token, device, ...http }) {
  await ask('DELETE', `/v1/devices/${device}`, { token, ...http })
}

/**
 * Asks for a code to be sent to the number that the account is to have.
 *
 * @param {{token: string, number: string, region?: string} & HTTPOptions} o
 * @returns {Promise<Asked>} throws a {@link SwitchboardError}: bad_number, self, forbidden, rate_limited
 */
export function requestNumber({ token, number, region, ...http }) {
  return post('/v1/number', { token, body: { number, region: region || undefined }, ...http })
}

/**
 * Gives the code: the account has the number then, and keeps all else. Its clients
 * connect again and say `number`.
 *
 * @param {{token: string, verification: string, code: string} & HTTPOptions} o
 * @returns {Promise<{account: string, number: string}>} throws a {@link SwitchboardError}: bad_code, code_expired, conflict (the number has another account)
 */
export function confirmNumber({ token, verification, code, ...http }) {
  return post('/v1/number/confirm', { token, body: { verification, code }, ...http })
}

/**
 * Asks for a code to be sent to the account's own number, to delete the account.
 *
 * @param {{token: string} & HTTPOptions} o
 * @returns {Promise<Asked>} throws a {@link SwitchboardError}: forbidden, rate_limited
 */
export function requestDelete({ token, ...http }) {
  return post('/v1/account/code', { token, ...http })
}

/**
 * Gives the code: the account is deleted, with its devices, what waits for them,
 * contacts, blocks and settings. After `unavailable`, do it again with the same code.
 *
 * @param {{token: string, verification: string, code: string} & HTTPOptions} o
 * @returns {Promise<void>} throws a {@link SwitchboardError}: bad_code, code_expired, forbidden
 */
export async function deleteAccount({ token, verification, code, ...http }) {
  await ask('DELETE', '/v1/account', { token, body: { verification, code }, ...http })
}

/**
 * @param {string} path
 * @param {{body?: object, token?: string} & HTTPOptions} o
 * @returns {Promise<any>}
 */
const post = (path, o) => ask('POST', path, o)

/**
 * @param {string} method
 * @param {string} path
 * @param {{body?: object, token?: string} & HTTPOptions} o
 * @returns {Promise<any>}
 */
async function ask(method, path, { body, token, base = '', fetch = globalThis.fetch }) {
  /** @type {Record<string, string>} */
  const headers = {}
  if (body) headers['Content-Type'] = 'application/json'
  if (token) headers.Authorization = `Bearer ${token}`
  let res
  try {
    res = await fetch(base + path, { method, headers, body: body && JSON.stringify(body), credentials: 'omit' })
  } catch {
    throw localError('network', 'The server could not be reached.', true)
  }
  const text = await res.text()
  let data = null
  try {
    data = text ? JSON.parse(text) : null
  } catch { /* a proxy's page; the status decides */ }
  if (res.ok) return data
  throw new SwitchboardError(data?.error || { code: 'network', msg: `The server answered ${res.status}.`, retry: res.status >= 500 })
}

// ---------------------------------------------------------------------- store

/** Bounds of what a browser keeps; local storage has about five million characters. */
export const KEPT = freeze({ conversations: 60, texts: 200, characters: 60_000, calls: 100, seen: 1000 })

/** Storage for a page that may not keep anything. */
class Memory {
  #m = new Map()
  /** @param {string} k */
  getItem(k) { return this.#m.get(k) ?? null }
  /** @param {string} k @param {string} v */
  setItem(k, v) { this.#m.set(k, v) }
  /** @param {string} k */
  removeItem(k) { this.#m.delete(k) }
}

/** @returns {Storage|Memory} */
function defaultStorage() {
  try {
    const s = globalThis.localStorage
    s.getItem('switchboard')
    return s
  } catch {
    return new Memory()
  }
}

/** Ends of a call that came which leave nothing to do for whoever was called. */
const SETTLED = ['declined', 'declined_elsewhere', 'answered_elsewhere', 'merged', 'replaced']

/**
 * Whether a call of {@link Store.calls} was missed: it came, and on no device of the
 * account was it answered or declined. One that found every device in another call is
 * missed, too.
 *
 * @param {PastCall} c
 */
export function isMissed(c) {
  if (c.out || c.answered) return false
  return c.reason === 'busy' || (!c.mine && !SETTLED.includes(c.reason))
}

/**
 * What a device remembers: its token, its conversations, its calls. It lies in
 * local storage under `<profile>.…`, bounded by {@link KEPT}; the account's id is
 * part of the key, so that two numbers in one browser do not mix.
 */
export class Store {
  #storage
  #profile
  /** @type {Set<string>} numbers whose conversation must be written */
  #dirty = new Set()
  #indexDirty = false
  #callsDirty = false
  #seenDirty = false
  /** @type {Map<string, Conversation>} */
  #conversations = new Map()
  /** @type {PastCall[]} newest first */
  #calls = []
  /** @type {Set<string>} keys of mailbox items that were handled */
  #seen = new Set()

  /** @param {{profile?: string, storage?: Storage|Memory}} [o] */
  constructor({ profile = 'switchboard', storage = defaultStorage() } = {}) {
    this.#storage = storage
    this.#profile = profile
    /** @type {Device|null} */
    this.device = this.#get('device')
    this.reload()
  }

  /** Reads everything again, for instance after another tab has written. */
  reload() {
    this.device = this.#get('device')
    this.#conversations.clear()
    for (const number of this.#get(this.#key('index')) || []) {
      const c = this.#get(this.#key('c', number))
      if (c) this.#conversations.set(number, c)
    }
    this.#calls = this.#get(this.#key('calls')) || []
    this.#seen = new Set(this.#get(this.#key('seen')) || [])
  }

  /**
   * Keeps the device that {@link confirm} or {@link refresh} returned.
   *
   * @param {TokenReply} reply
   */
  saveDevice(reply) {
    const { account, device, number, token, expires_ms } = reply
    const obtained = Date.now()
    const same = this.device?.account === account
    this.device = { account, device, number, token, obtained, expires: obtained + expires_ms }
    this.#set('device', this.device)
    if (!same) this.reload()
  }

  /** Notes the number that the account has now. @param {string} number */
  saveNumber(number) {
    if (!this.device) return
    this.device = { ...this.device, number }
    this.#set('device', this.device)
  }

  /** Forgets the token; conversations stay for when the number comes back. */
  forgetDevice() {
    this.#storage.removeItem(`${this.#profile}.device`)
    this.device = null
  }

  /** Forgets everything of this account. */
  clear() {
    for (const number of this.#conversations.keys()) this.#remove(this.#key('c', number))
    for (const k of ['index', 'calls', 'seen', 'trips']) this.#remove(this.#key(k))
    this.#conversations.clear()
    this.#calls = []
    this.#seen.clear()
    this.forgetDevice()
  }

  /** Round trips to the server's regions, in ms by name, and when they were measured. @returns {{at: number, trips: Record<string, number>}} */
  get measured() { return this.#get(this.#key('trips')) || { at: 0, trips: {} } }

  /** @param {{at: number, trips: Record<string, number>}} m */
  saveMeasured(m) { this.#set(this.#key('trips'), m) }

  /** Which microphone, camera and speaker were chosen, by id; '' is the browser's own choice. @returns {Chosen} */
  get chosen() { return { microphone: '', camera: '', speaker: '', ...this.#get('chosen') } }

  /** @param {Chosen} chosen */
  saveChosen(chosen) { this.#set('chosen', chosen) }

  /** @returns {Conversation[]} newest first */
  get conversations() {
    return [...this.#conversations.values()].sort((a, b) => b.time - a.time)
  }

  /** @param {string} number @returns {Conversation|undefined} */
  conversation(number) { return this.#conversations.get(number) }

  /** @param {string} number @returns {Conversation} an empty one if there was none */
  open(number) {
    let c = this.#conversations.get(number)
    if (!c) {
      c = { number, texts: [], unread: 0, read: '', time: Date.now() }
      this.#conversations.set(number, c)
      this.#indexDirty = true
      this.#boundConversations()
    }
    return c
  }

  /** Says that a conversation was changed. @param {Conversation} c */
  touch(c) {
    let size = 0
    let from = c.texts.length
    while (from > 0 && c.texts.length - from < KEPT.texts && size < KEPT.characters) size += c.texts[--from].body.length + 100
    c.texts.splice(0, from)
    this.#dirty.add(c.number)
  }

  /** @param {string} number */
  dropConversation(number) {
    if (!this.#conversations.delete(number)) return
    this.#remove(this.#key('c', number))
    this.#indexDirty = true
    this.save()
  }

  /** @returns {readonly PastCall[]} newest first */
  get calls() { return this.#calls }

  /** Keeps a call, or what has become known of it. @param {PastCall} call */
  keepCall(call) {
    const old = this.#calls.find((c) => c.call === call.call)
    if (old) Object.assign(old, call, { seen: old.seen || call.seen, time: old.time, answered: old.answered || call.answered, duration: call.duration || old.duration })
    else this.#calls.unshift(call)
    this.#calls.sort((a, b) => b.time - a.time)
    this.#calls.length = Math.min(this.#calls.length, KEPT.calls)
    this.#callsDirty = true
  }

  /** Missed calls have been looked at. */
  seeCalls() {
    if (this.#calls.every((c) => c.seen)) return
    for (const c of this.#calls) c.seen = true
    this.#callsDirty = true
    this.save()
  }

  clearCalls() {
    this.#calls = []
    this.#callsDirty = true
    this.save()
  }

  /** @param {string} key @returns {boolean} whether it is new */
  firstTime(key) {
    if (this.#seen.has(key)) return false
    this.#seen.add(key)
    if (this.#seen.size > KEPT.seen) this.#seen.delete(this.#seen.values().next().value ?? '')
    this.#seenDirty = true
    return true
  }

  /**
   * Writes what was changed. When the storage is full the oldest conversations
   * go first.
   */
  save() {
    for (let tries = 0; ; tries++) {
      try {
        this.#write()
        return
      } catch (e) {
        const oldest = this.conversations.at(-1)
        if (!oldest || tries > KEPT.conversations) throw e
        this.#conversations.delete(oldest.number)
        this.#dirty.delete(oldest.number)
        this.#remove(this.#key('c', oldest.number))
        this.#indexDirty = true
      }
    }
  }

  #write() {
    for (const number of this.#dirty) {
      const c = this.#conversations.get(number)
      if (c) this.#set(this.#key('c', number), c)
      this.#dirty.delete(number)
      this.#indexDirty = true
    }
    if (this.#indexDirty) this.#set(this.#key('index'), this.conversations.map((c) => c.number))
    if (this.#callsDirty) this.#set(this.#key('calls'), this.#calls)
    if (this.#seenDirty) this.#set(this.#key('seen'), [...this.#seen])
    this.#indexDirty = this.#callsDirty = this.#seenDirty = false
  }

  #boundConversations() {
    for (const c of this.conversations.slice(KEPT.conversations)) this.dropConversation(c.number)
  }

  /** @param {...string} parts */
  #key(...parts) { return [this.device?.account || 'nobody', ...parts].join('.') }

  /** @param {string} key */
  #get(key) {
    try {
      return JSON.parse(this.#storage.getItem(`${this.#profile}.${key}`) || 'null')
    } catch {
      return null
    }
  }

  /** @param {string} key @param {unknown} value */
  #set(key, value) { this.#storage.setItem(`${this.#profile}.${key}`, JSON.stringify(value)) }

  /** @param {string} key */
  #remove(key) { this.#storage.removeItem(`${this.#profile}.${key}`) }
}

// ----------------------------------------------------------------------- link

const BACKOFF = freeze({ base: 250, cap: 15_000, stable: 15_000 })
const OPEN_TIMEOUT = 10_000
const REQUEST_TIMEOUT = 10_000
/** How long a request goes unanswered until the socket is probed: a server answers within five seconds. */
const LATE = 6000
/** A refusal that asks to wait longer than this is final. */
const PATIENCE = 2 * 60_000
/** The longest that a node which stops can keep a client away. */
const AWAY = 2 * 60_000
/** Bytes of a frame, as long as no server has said otherwise. */
const FRAME = 65_536
const ACK_AFTER = 1000
const ACK_FRAMES = 32
/** What an acknowledgement adds to a frame at most. */
const ACK_BYTES = 24
/** Close codes of a node that serves no longer: lease_lost and internal. */
const LEAVE = freeze([4003, 4004])
/** How many heartbeats may pass without a frame before the server is given up. */
const SILENCE = 2.5
/**
 * Where to connect: how long after one hint the next of a welcome is not
 * followed, so that two nodes that do not agree cannot send a device back and
 * forth; how long a connection must be there before it is given up for a better
 * one; how often to look whether it is idle.
 */
const FOLLOW = freeze({ again: 5 * 60_000, settle: 2000, look: 1000 })
/** Measuring regions: how often, how long it is told, after how long a random wait, how often each, how patiently. */
const MEASURE = freeze({ again: 60 * 60_000, told: 24 * 60 * 60_000, after: 5000, probes: 3, timeout: 3000, regions: 32, most: 60_000 })

/** How many bytes a text has in UTF-8. @param {string} text */
const sizeOf = (text) => new TextEncoder().encode(text).length

/** @param {number} bytes @returns {string} random, in the alphabet of ids */
export function randomID(bytes = 16) {
  const b = crypto.getRandomValues(new Uint8Array(bytes))
  return btoa(String.fromCharCode(...b)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/** Full jitter: anything between nothing and the doubling bound. @param {number} attempt */
const backoff = (attempt) => Math.random() * Math.min(BACKOFF.cap, BACKOFF.base * 2 ** attempt)

/**
 * @typedef {'idle'|'connecting'|'online'|'waiting'|'stopped'} LinkState
 * @typedef {object} Pending
 * @property {string} id
 * @property {string} type
 * @property {object} d
 * @property {boolean} keep        sent again after a reconnect
 * @property {number} retryFor     how long errors that may be retried are not final, from the first on
 * @property {number} retryUntil   when they are; 0 before the first
 * @property {number} tries
 * @property {boolean} sent        on the present connection
 * @property {string} tag          what the owner drops it by
 * @property {ReturnType<typeof setTimeout>|undefined} deadline
 * @property {ReturnType<typeof setTimeout>|undefined} again
 * @property {ReturnType<typeof setTimeout>|undefined} late
 * @property {(reply: any) => void} resolve
 * @property {(e: SwitchboardError) => void} reject
 */

/**
 * One session with the server, over as many sockets as it takes: hello and
 * welcome, resume, numbered frames and their acknowledgement, heartbeat,
 * requests that outlive a socket.
 *
 * It tells `onState`, `onWelcome` before anything of that connection, and
 * `onFrame` for each server frame, once.
 */
class Link {
  /** @type {LinkState} */
  state = 'idle'
  /** Why it stopped or is waiting. @type {{code: number, name: string, error: SwitchboardError|null}|null} */
  last = null
  /** When the next attempt is due, in Date.now() terms; 0 if none is. */
  nextAttempt = 0

  /** @type {WebSocket|null} */ #ws = null
  /** @type {{session: string, key: string}|null} */ #resume = null
  /** The node that a server named, in place of where we connect by ourselves. */ #hint = ''
  #followed = -Infinity
  /** Which of the server's URLs, where there is no hint. */ #at = 0
  /** How many of them in a row did not welcome us. */ #failures = 0
  /** When a node that stops lets us come back, as Date.now() counts. */ #backAt = 0
  #greeted = false
  #maxFrame = FRAME
  #lastS = 0
  #ackedS = 0
  #unacked = 0
  #attempt = 0
  #requests = 0
  #prefix = randomID(3)
  /** @type {Map<string, Pending>} in the order in which they were made */ #pending = new Map()
  #heartbeat = 25_000
  #heard = 0
  /** @type {SwitchboardError|null} */ #cause = null
  /** @type {Record<string, ReturnType<typeof setTimeout>|undefined>} */ #timers = {}
  #config

  /**
   * @param {object} config
   * @param {string[]} config.urls  of the server, in the order in which they are tried
   * @param {boolean} config.follow  goes to the nodes that the server names
   * @param {() => boolean} config.idle  whether nobody would notice a change of nodes
   * @param {() => object} config.hello
   * @param {() => void} config.onState
   * @param {(welcome: any) => void} config.onWelcome
   * @param {(type: string, d: any) => void} config.onFrame
   */
  constructor(config) {
    this.#config = config
  }

  /** Connects now, from whatever state. */
  start() {
    if (this.state === 'online' || this.state === 'connecting') return
    this.#clear('reconnect')
    this.#open()
  }

  /** Closes without ending the session on the server. */
  stop() { this.#end({ code: 1000, name: 'closed', error: null }) }

  /** Ends the session on the server, too. */
  bye() {
    if (this.state === 'online') this.#transmit({ t: 'bye' })
    this.#resume = null
    this.#end({ code: 4503, name: 'bye', error: null })
  }

  /** Tries at once if it was waiting, or probes whether the socket is alive. */
  poke() {
    if (this.state === 'waiting') {
      this.#attempt = 0
      this.start()
    } else if (this.state === 'online') {
      this.#probe()
    }
  }

  /** The device has another network, where the sockets of the old one are of no use. */
  moved() {
    if (this.state === 'idle' || this.state === 'stopped') return
    this.#attempt = 0
    this.#drop()
    this.#open()
  }

  /** Lets go of the socket until it is poked. The session stays, for a while. */
  rest() {
    if (this.state !== 'online' && this.state !== 'connecting') return
    this.#drop()
    this.#to('waiting')
  }

  /** Takes the socket for broken, and opens another after the wait that is due then. */
  broken() { if (this.state === 'online') this.#closed(1006, '') }

  /** Gives the socket up and opens another, with the same session. */
  renew() {
    if (this.state !== 'online') return
    this.#drop()
    this.#open()
  }

  /**
   * Sends a request and waits for the answer.
   *
   * @param {string} type
   * @param {object} d
   * @param {{keep?: boolean, timeout?: number, retryFor?: number, tag?: string}} [o]
   *   keep: an intent, sent again after a reconnect under the same id until it
   *   is answered. timeout: in ms; 0 means never, the default for what is kept.
   *   retryFor: how long, in ms, errors that allow it are retried, from the first on.
   * @returns {Promise<any>}
   */
  request(type, d, { keep = false, timeout = keep ? 0 : REQUEST_TIMEOUT, retryFor = 0, tag = '' } = {}) {
    if (TYPES[type]?.from === 'server' || !TYPES[type]) throw new TypeError(`${type} is not a request`)
    return new Promise((resolve, reject) => {
      if (this.state === 'stopped') return reject(localError('stopped', 'The session has ended.'))
      const id = `${this.#prefix}-${++this.#requests}`
      /** @type {Pending} */
      const p = { id, type, d, keep, retryFor, retryUntil: 0, tries: 0, sent: false, tag, deadline: undefined, again: undefined, late: undefined, resolve, reject }
      if (timeout) p.deadline = setTimeout(() => this.#settle(p, localError(this.state === 'online' ? 'timeout' : 'offline', 'The server did not answer in time.', true)), timeout)
      this.#pending.set(id, p)
      this.#try(p)
    })
  }

  /** Sends what needs no answer, if connected. @param {string} type @param {object} d */
  tell(type, d) {
    if (this.state === 'online') this.#transmit({ t: type, d })
  }

  /** Forgets kept requests by their tag. @param {string} tag @returns {boolean} whether any had been sent */
  abandon(tag) {
    let sent = false
    for (const p of [...this.#pending.values()]) {
      if (p.tag !== tag) continue
      sent ||= p.tries > 0
      this.#settle(p, localError('stopped', 'No longer wanted.'))
    }
    return sent
  }

  /** @param {string} tag */
  waiting(tag) { return [...this.#pending.values()].some((p) => p.tag === tag) }

  // --- the socket

  #open() {
    this.#cause = null
    this.#greeted = false
    let ws
    try {
      ws = new WebSocket(this.#address(), SUBPROTOCOL)
    } catch (e) {
      if (this.#hint) return this.#back()
      this.#end({ code: 0, name: 'bad_address', error: localError('network', String(e)) })
      return
    }
    this.#ws = ws
    ws.onopen = () => { ws.send(JSON.stringify({ t: 'hello', d: this.#hello() })) }
    ws.onmessage = (e) => { if (ws === this.#ws) this.#receive(e.data) }
    ws.onclose = (e) => { if (ws === this.#ws) this.#closed(e.code, e.reason) }
    this.#arm('open', OPEN_TIMEOUT, () => { this.#drop(); this.#closed(1006, '') })
    this.#to('connecting')
  }

  // --- which node

  #address() { return this.#hint || this.#config.urls[this.#at] }

  /** Goes on to the next of the server's URLs. */
  #turn() { this.#at = (this.#at + 1) % this.#config.urls.length }

  /** Notes that a URL did not welcome us. @returns {boolean} whether there is another to try before there is a wait */
  #failed() {
    this.#turn()
    this.#failures = (this.#failures + 1) % this.#config.urls.length
    return this.#failures > 0
  }

  /** Where a hint leads; '' if it must not be followed. @param {any} better */
  #leadsTo(better) {
    if (!this.#config.follow || !better?.url) return ''
    let u
    try {
      u = new URL(better.url)
    } catch {
      return ''
    }
    const secure = u.protocol === 'wss:' || u.protocol === 'https:'
    if (!secure && (this.#config.urls.some((url) => url.startsWith('wss:')) || !['ws:', 'http:'].includes(u.protocol))) return ''
    if (!u.host || u.pathname.length > 1 || u.search) return ''
    const to = `${secure ? 'wss' : 'ws'}://${u.host}${SOCKET_PATH}`
    return to === this.#address() ? '' : to
  }

  /** @param {string} to */
  #follow(to) {
    this.#hint = to
    this.#followed = Date.now()
  }

  /** Goes to a better node as soon as nothing is going on. @param {string} to */
  #moveTo(to) {
    if (this.#pending.size || !this.#config.idle()) return this.#arm('move', FOLLOW.look, () => this.#moveTo(to))
    if (this.#lastS > this.#ackedS) this.#ack()
    this.#follow(to)
    this.#drop()
    this.#open()
  }

  /** The node that was named does not take us: back to where we came from, at once. */
  #back() {
    this.#hint = ''
    this.#drop()
    this.#open()
  }

  #hello() {
    const d = this.#config.hello()
    return this.#resume ? { ...d, resume: { ...this.#resume, s: this.#lastS } } : d
  }

  /** Lets go of the socket without hearing from it again. */
  #drop() {
    const ws = this.#ws
    this.#ws = null
    for (const name of Object.keys(this.#timers)) this.#clear(name)
    if (ws) try { ws.close(1000) } catch { /* it never opened */ }
    this.#disconnected()
  }

  /** Requests that do not outlive their socket fail; the others wait. */
  #disconnected() {
    for (const p of [...this.#pending.values()]) {
      clearTimeout(p.again)
      clearTimeout(p.late)
      if (p.sent && !p.keep) this.#settle(p, localError('offline', 'The connection was lost.', true))
      p.sent = false
    }
  }

  /** @param {number} code @param {string} reason */
  #closed(code, reason) {
    if (this.#hint && !this.#greeted) return this.#back() // what it refuses, the server may not
    this.#drop()
    const name = CLOSE_CODES[/** @type {keyof CLOSE_CODES} */ (String(code))] || reason || 'lost'
    const last = { code, name, error: this.#cause }
    if (code >= 4500 && code < 5000) return this.#end(last)
    this.last = last
    if (!this.#greeted && this.#failed()) return this.#open()
    if (this.#greeted && LEAVE.includes(code)) this.#turn()
    const delay = Math.max(this.#backAt - Date.now(), backoff(this.#attempt++))
    this.#backAt = 0
    this.nextAttempt = Date.now() + delay
    this.#arm('reconnect', delay, () => this.#open())
    this.#to('waiting')
  }

  /** @param {{code: number, name: string, error: SwitchboardError|null}} why */
  #end(why) {
    this.#drop()
    this.last = why
    this.nextAttempt = 0
    // What was to be kept is kept: start may be called again.
    if (why.code >= 4500) this.#resume = null
    this.#to('stopped')
  }

  /** @param {LinkState} state */
  #to(state) {
    if (state !== 'waiting') this.nextAttempt = 0
    this.state = state
    this.#config.onState()
  }

  // --- frames

  /** @param {string} data */
  #receive(data) {
    this.#heard = Date.now()
    let f
    try {
      f = JSON.parse(data)
    } catch {
      return
    }
    if (this.state === 'connecting') {
      if (f.t === 'welcome') this.#welcome(f.d || {})
      else if (f.t === 'err') this.#cause = new SwitchboardError(f.d || { code: 'internal' })
      return
    }
    if (f.s) {
      if (f.s > this.#lastS + 1) return this.broken() // one got lost on the way
      const repeat = f.s <= this.#lastS
      if (!repeat) this.#lastS = f.s
      this.#ackSoon()
      if (repeat) return
    }
    switch (f.t) {
      case 'ok':
      case 'err': return this.#answered(f)
      case 'pong': return
      case 'going_away': return this.#goingAway(f.d || {})
      default: this.#config.onFrame(f.t, f.d || {})
    }
  }

  /** @param {any} d */
  #welcome(d) {
    this.#clear('open')
    if (d.resumed !== 'full') this.#lastS = 0
    this.#ackedS = this.#lastS
    this.#unacked = 0
    this.#failures = this.#backAt = 0
    this.#maxFrame = d.limits?.frame || FRAME
    this.#resume = { session: d.session, key: d.key }
    this.#heartbeat = d.heartbeat_ms || this.#heartbeat
    this.last = null
    this.#arm('stable', BACKOFF.stable, () => { this.#attempt = 0 })
    this.#arm('ping', this.#heartbeat, () => this.#ping())
    this.#watch()
    this.#greeted = true
    const to = this.#leadsTo(d.better)
    if (to && Date.now() - this.#followed >= FOLLOW.again) this.#arm('move', FOLLOW.settle, () => this.#moveTo(to))
    this.state = 'online'
    this.#config.onWelcome(d)
    for (const p of [...this.#pending.values()]) this.#try(p)
    this.#to('online')
  }

  /** @param {{after_ms?: number, better?: any}} d */
  #goingAway({ after_ms = 0, better }) {
    const to = this.#leadsTo(better)
    const after = Math.min(after_ms, AWAY)
    this.#clear('move')
    if (!this.#hint && !to) this.#turn()
    this.#hint = ''
    if (to) this.#follow(to)
    this.#backAt = Date.now() + after
    this.#arm('leave', after, () => this.renew())
    this.#config.onFrame('going_away', { after_ms: after })
  }

  /** @param {any} f */
  #answered(f) {
    const p = f.re && this.#pending.get(f.re)
    if (!p) {
      if (f.t === 'err') this.#cause = new SwitchboardError(f.d || { code: 'internal' })
      return
    }
    if (f.t === 'ok') return this.#settle(p, f.d || {})
    const e = new SwitchboardError(f.d || { code: 'internal' })
    const now = Date.now()
    p.retryUntil ||= now + p.retryFor // it may have waited for a connection before
    const wait = e.afterMS + (e.code === 'rate_limited' && e.afterMS ? 0 : backoff(p.tries)) // a rate is this client's alone; the rest others meet, too
    if (!e.retry || wait > PATIENCE || now + wait > p.retryUntil) return this.#settle(p, e)
    p.sent = false
    clearTimeout(p.late)
    p.again = setTimeout(() => this.#try(p), wait)
  }

  /** @param {Pending} p @param {any} result */
  #settle(p, result) {
    clearTimeout(p.deadline)
    clearTimeout(p.again)
    clearTimeout(p.late)
    this.#pending.delete(p.id)
    if (result instanceof Error) p.reject(/** @type {SwitchboardError} */ (result))
    else p.resolve(result)
  }

  /** @param {Pending} p */
  #try(p) {
    if (this.state !== 'online' || p.sent || !this.#pending.has(p.id)) return
    clearTimeout(p.again)
    const f = { t: p.type, id: p.id, d: p.d }
    // The server would close the connection for it, time and again.
    if (sizeOf(JSON.stringify(f)) + ACK_BYTES > this.#maxFrame) return this.#settle(p, new SwitchboardError({ code: 'too_large', cat: 'request', msg: 'That is too much for the server.' }))
    p.sent = true
    p.tries++
    this.#transmit(f)
    this.#expect(p)
  }

  /**
   * A socket can be dead one way, as when a VPN takes over the device's packets: what the
   * server sends still comes, and nothing that is sent arrives.
   *
   * @param {Pending} p
   */
  #expect(p) {
    clearTimeout(p.late)
    p.late = setTimeout(() => {
      if (!p.sent || !this.#pending.has(p.id)) return
      this.#probe()
      this.#expect(p)
    }, LATE)
  }

  /** @param {{t: string, id?: string, a?: number, d?: object}} f */
  #transmit(f) {
    if (this.#lastS > this.#ackedS) {
      f.a = this.#ackedS = this.#lastS
      this.#unacked = 0
      this.#clear('ack')
    }
    this.#arm('ping', this.#heartbeat, () => this.#ping())
    this.#ws?.send(JSON.stringify(f))
  }

  #ackSoon() {
    if (++this.#unacked >= ACK_FRAMES) return this.#ack()
    if (!this.#timers.ack) this.#arm('ack', ACK_AFTER, () => this.#ack())
  }

  #ack() {
    this.#clear('ack')
    this.#ackedS = Math.min(this.#ackedS, this.#lastS - 1) // a repeat is acknowledged again
    this.#transmit({ t: 'ack' })
  }

  // --- heartbeat

  #ping() { this.#transmit({ t: 'ping' }) }

  #watch() {
    this.#arm('watch', this.#heartbeat / 2, () => {
      if (Date.now() - this.#heard > SILENCE * this.#heartbeat) return this.#closed(1006, '')
      this.#watch()
    })
  }

  /** After a sleep or a change of network: is anybody there? */
  #probe() {
    const before = this.#heard
    this.#ping()
    this.#arm('probe', 3000, () => { if (this.#heard === before) { this.#drop(); this.#open() } })
  }

  /** @param {string} name @param {number} ms @param {() => void} f */
  #arm(name, ms, f) {
    this.#clear(name)
    this.#timers[name] = setTimeout(() => { this.#timers[name] = undefined; f() }, ms)
  }

  /** @param {string} name */
  #clear(name) {
    clearTimeout(this.#timers[name])
    this.#timers[name] = undefined
  }
}

// --------------------------------------------------------------------- client

const MAILBOX_ACK = freeze({ after: 1000, items: 64 })
const REFRESH_CHECK = 60 * 60_000
const SUBSCRIBE_BATCH = 100
const CONTACTS_BATCH = freeze({ numbers: 500, bytes: 20 << 10 })
const FOREVER = 10 * 365 * 86_400_000

/**
 * A device. It fires:
 *
 *  - `state`: {@link Client.state} has changed;
 *  - `call`: a call rings; `detail` is the {@link Call}. One that this device had
 *    placed itself does not come here, not even when it was merged;
 *  - `calls`: {@link Client.calls} has changed;
 *  - `conversation`: `detail` is the {@link Conversation} that has changed;
 *  - `text`: a text from somebody came; `detail` is `{conversation, text}`;
 *  - `history`: the store's calls have changed;
 *  - `typing`: `detail` is `{number}`;
 *  - `presence`: a number that was subscribed to came or went; `detail` is its {@link Presence};
 *  - `settings`: another device changed the account's settings; `detail` is the {@link Settings};
 *  - `drained`: the backlog is handled, all is up to date;
 *  - `token`: the token was refreshed;
 *  - `number`: the account has another number, {@link Client.number};
 *  - `media`: microphones, cameras or speakers came or went, or others were chosen;
 *  - `trouble`: something that nobody waits for went wrong; `detail` is an error: of code
 *    `media`, when a microphone is gone in a call and there is no other to take over.
 */
export class Client extends EventTarget {
  /** The calls in progress, by id. @type {Map<string, Call>} */
  calls = new Map()
  /** What the server said at the last connect. @type {any} */
  welcome = null
  /** Whether the backlog of the mailbox has been handled. */
  drained = false
  /** Whether new calls use relays alone. */
  relayOnly = false
  /** Whether a call rings beside another one; if not, this device is busy then. */
  callWaiting = false
  /** Whether media is set up while a call rings. */
  prepares = true

  #link
  /** @type {string[]} */ #bases
  #follows
  #measuring = false
  #mailboxSeq = 0
  #mailboxItems = 0
  /** How many items have come on this connection. */ #mailboxN = 0
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #mailboxTimer
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #expiryTimer
  /** @type {ReturnType<typeof setInterval>|undefined} */ #refreshTimer
  /** Calls that are over here; late frames and snapshots of them mean nothing. @type {Set<string>} */ #gone = new Set()
  /** @type {Map<string, Promise<unknown>>} the text being sent, by number: texts keep their order */ #sending = new Map()
  /** @type {Map<string, number>} */ #typed = new Map()
  /** Numbers that were subscribed to, as the server writes them. @type {Set<string>} */ #subscribed = new Set()
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #subscribeTimer
  /** Incoming calls that may be about to be merged with one of ours. @type {Map<string, {d: any, candidates: any[]}>} */ #held = new Map()
  /** @type {Array<() => void>} */ #undo = []

  /**
   * @param {object} [o]
   * @param {Store} [o.store] holds the device; register first
   * @param {string|string[]} [o.base] where the server is, such as https://sb.example; default: where the page came from. Of several, as its nodes have,
   *   one that does not answer, or serves no longer, is followed by the next; the one that does is kept
   * @param {boolean} [o.relayOnly] never tell a peer an address of one's own
   * @param {boolean} [o.away] fetch the mailbox, but do not ring here
   * @param {string} [o.name] of the program, for operators
   * @param {boolean} [o.follow] goes to the nodes that the server names, and measures how far its regions are; by default it does
   * @param {boolean} [o.callWaiting] has a second call ring beside the one that there is, with {@link Call.waiting}; by default, and with two, this device is busy
   * @param {boolean} [o.prepare] sets media up while a call rings, so that it flows as soon as that is answered; by default it does
   * @param {(want: Wanted) => Promise<MediaStream>} [o.media] opens microphone and camera
   */
  constructor({ store = new Store(), base = '', relayOnly = false, away = false, name = `switchboard.js/${VERSION}`, follow = true, callWaiting = false, prepare = true, media = openMedia } = {}) {
    super()
    this.store = store
    this.relayOnly = relayOnly
    this.callWaiting = callWaiting
    this.prepares = prepare
    this.media = media
    this.#bases = [base].flat()
    this.#follows = follow && !away
    this.#link = new Link({
      urls: this.#bases.map(socketURL),
      follow: follow && !away,
      idle: () => !this.calls.size,
      hello: () => ({ token: this.store.device?.token || '', client: name.slice(0, 64), ...(away && { away: true }), ...this.#roundTrips() }),
      onState: () => this.#stateChanged(),
      onWelcome: (d) => this.#welcomed(d),
      onFrame: (t, d) => this.#frame(t, d)
    })
  }

  /** The connection: idle, connecting, online, waiting (for the next attempt) or stopped. */
  get state() { return this.#link.state }
  /** Why the connection was lost or ended: the close code and its name, an error if the server sent one. */
  get last() { return this.#link.last }
  /** When the next attempt is due, as Date.now() counts; 0 if none is. */
  get nextAttempt() { return this.#link.nextAttempt }
  /** The device's own number. @returns {string} */
  get number() { return this.store.device?.number || '' }

  /**
   * Connects and stays connected. Resolves at the first welcome; throws a
   * {@link SwitchboardError} when the server says that it will never be.
   *
   * @returns {Promise<void>}
   */
  async connect() {
    if (!this.store.device) throw localError('bad_token', 'Register first.')
    if (this.state === 'stopped') this.store.reload()
    this.#listen()
    await this.#refreshIfDue()
    const up = new Promise((resolve, reject) => {
      const look = () => {
        if (this.state !== 'online' && this.state !== 'stopped') return
        this.removeEventListener('state', look)
        if (this.state === 'online') resolve(undefined)
        else reject(this.last?.error || localError(this.last?.name || 'stopped', 'The session has ended.'))
      }
      this.addEventListener('state', look)
    })
    this.#link.start()
    if (this.state === 'online') return
    return /** @type {Promise<void>} */ (up)
  }

  /** Disconnects. The server keeps the session for a while. */
  close() {
    this.#unlisten()
    this.#link.stop()
  }

  /** Hangs up, ends the session on the server and disconnects. */
  bye() {
    for (const call of this.calls.values()) call.hangup()
    this.#unlisten()
    this.#link.bye()
  }

  /** Connects at once if it was waiting to. */
  retryNow() { this.#link.poke() }

  // --- calls

  /**
   * Calls a number. The call is returned at once; it tells how it goes. Another
   * that goes on is put on hold.
   *
   * @param {string} to in any way of writing it
   * @param {{video?: boolean, relayOnly?: boolean}} [o]
   * @returns {Call}
   */
  call(to, { video = false, relayOnly = this.relayOnly } = {}) {
    const call = new Call(this, this.#link, { id: randomID(), role: 'caller', peer: to, video, relayOnly })
    this.#add(call)
    this.alone(call)
    call.invite()
    return call
  }

  /** One call has media at a time: puts the others on hold. @param {Call} call @returns {Call[]} those that were not */
  alone(call) {
    const others = [...this.calls.values()].filter((c) => c !== call && c.isAnswered && !c.held)
    for (const c of others) c.hold()
    for (const c of this.calls.values()) if (c !== call && c.role === 'caller' && !c.isAnswered) c.hangup()
    return others
  }

  /** @param {Call} call */
  #add(call) {
    this.calls.set(call.id, call)
    const ended = () => {
      if (call.state !== 'ended') return
      call.removeEventListener('change', ended)
      this.calls.delete(call.id)
      this.#forget(call.id)
      this.#keepPast(call)
      for (const c of this.calls.values()) if (this.calls.size === 1) c.alone()
      this.#fire('calls')
      this.#releaseHeld()
    }
    call.addEventListener('change', ended)
    this.#fire('calls')
  }

  /** @param {string} id */
  #forget(id) {
    this.#gone.add(id)
    if (this.#gone.size > 100) this.#gone.delete(this.#gone.values().next().value ?? '')
  }

  /** @param {any} d @param {any[]} [candidates] */
  #incoming(d, candidates = []) {
    if (this.#gone.has(d.call) || this.calls.has(d.call)) return
    const own = [...this.calls.values()].find((c) => c.mayMerge(d.call, d.from))
    if (own && (d.merged || own.mergedInto === d.call)) return this.#merge(own, d, candidates)
    if (own) { // both called at once; the server is about to say which call stays
      this.#held.set(d.call, { d, candidates })
      return
    }
    if (!this.#mayRing()) return this.#busy(d)
    const call = new Call(this, this.#link, { id: d.call, role: 'callee', peer: d.from, video: (d.media || []).includes('video'), relayOnly: this.relayOnly })
    call.waiting = this.calls.size > 0
    this.#add(call)
    call.ring(d)
    for (const c of candidates) call.candidates(c)
    this.#fire('call', call)
  }

  /** Whether one more call may ring here. */
  #mayRing() {
    const others = [...this.calls.values()]
    if (others.length === 0) return true
    return this.callWaiting && others.length < CALLS && others.every((c) => c.role === 'caller' || c.isAnswered)
  }

  /** The own call goes on as the other's. @param {Call} own @param {any} d @param {any[]} candidates */
  #merge(own, d, candidates) {
    this.#held.delete(d.call)
    this.#forget(own.id)
    this.calls.delete(own.id)
    this.calls.set(d.call, own)
    own.adopt(d)
    for (const c of candidates) own.candidates(c)
    this.#fire('calls')
  }

  /** The server has merged a call of ours; what it was merged into may have come already. @param {Call} own */
  merged(own) {
    const held = this.#held.get(own.mergedInto)
    if (held) this.#merge(own, held.d, held.candidates)
  }

  /** With the own call gone, the other one rings. */
  #releaseHeld() {
    for (const [id, { d, candidates }] of [...this.#held]) {
      if ([...this.calls.values()].some((c) => c.mayMerge(id, d.from))) continue
      this.#held.delete(id)
      this.#incoming(d, candidates)
    }
  }

  /** @param {any} d */
  #busy(d) {
    this.#forget(d.call)
    this.#link.request('call.busy', { call: d.call }, { keep: true, retryFor: 30_000, tag: d.call }).catch(() => {})
    this.#keep({ call: d.call, peer: d.from, out: false, video: (d.media || []).includes('video'), time: Date.now(), reason: 'busy', mine: true, answered: false, duration: 0, seen: false })
  }

  /** @param {Call} call */
  #keepPast(call) {
    /** @type {PastCall} */
    const past = {
      call: call.id, peer: call.peer, out: call.role === 'caller', video: call.media.includes('video'), time: call.startedAt,
      reason: call.reason, mine: call.mine, answered: call.isAnswered, duration: call.duration, seen: false
    }
    this.#keep({ ...past, seen: call.mine || !isMissed(past) })
  }

  /** @param {PastCall} past */
  #keep(past) {
    if (past.reason === 'merged') return // the other one is in the history
    this.store.keepCall(past)
    this.#saveSoon()
    this.#fire('history')
  }

  // --- microphone, camera, speaker

  /** What was chosen, by id. The page plays on the speaker: `video.setSinkId(client.chosen.speaker)`. @returns {Chosen} */
  get chosen() { return this.store.chosen }

  /**
   * Chooses, for this browser, and switches calls over without renegotiation.
   *
   * @param {Partial<Chosen>} change ids of {@link listMedia}; '' leaves it to the browser
   * @returns {Promise<void>} throws a {@link SwitchboardError} `media` when it cannot be opened
   */
  async choose(change) {
    const before = this.chosen
    const chosen = { ...before, ...change }
    try {
      this.store.saveChosen(chosen)
    } catch (e) {
      this.#fire('trouble', e)
    }
    this.#fire('media')
    const what = { audio: chosen.microphone !== before.microphone, video: chosen.camera !== before.camera }
    for (const call of this.calls.values()) await call.reopen(what)
  }

  /** Opens what was chosen. @param {{audio: boolean, video: boolean}} want */
  open(want) {
    const { microphone, camera } = this.chosen
    return this.media({ ...want, microphone, camera })
  }

  // --- texts

  /**
   * Sends a text. It is in the store at once, `pending`, and is sent until the
   * server has it, over reconnects and reloads of the page.
   *
   * @param {string} to a number as the server writes it; {@link Client.lookup} gives it
   * @param {string} body
   * @param {{type?: string, life?: number, payloads?: Payload[], ownPayloads?: Payload[]}} [o] `life` is how long it is of use, in ms, a second at
   *   least; then it is removed here and there. `payloads` go to the receiver's devices in the body's place, `ownPayloads` to one's own other ones
   * @returns {Text}
   */
  sendText(to, body, { type = 'text/plain', life, payloads, ownPayloads } = {}) {
    const limit = this.welcome?.limits?.message || 32 << 10
    if (sizeOf(body) > limit) throw new SwitchboardError({ code: 'too_large', cat: 'request', msg: 'The text is too long.' })
    const c = this.store.open(to)
    /** @type {Text} */
    const text = { id: randomID(), out: true, body, type, time: Date.now(), state: 'pending', ...(life && { life }), ...(payloads && { payloads, ownPayloads }) }
    c.texts.push(text)
    c.time = text.time
    this.#changed(c)
    this.#queueText(c, text)
    return text
  }

  /**
   * The devices of a number, which may be one's own, and the keys that each has published:
   * those for which a text with payloads must have one.
   *
   * @param {string} number in any way of writing it
   * @returns {Promise<{number: string, devices: {device: number, keys?: string}[]}>}
   */
  devices(number) { return this.#link.request('devices.get', { number }) }

  /** Publishes what others need to encrypt for this device; '' takes it back. @param {string} keys at most 4,096 bytes @returns {Promise<void>} */
  publishKeys(keys) { return this.#link.request('keys.set', { keys }) }

  /**
   * Tries a failed text again, under the same id. After `devices_changed` give its
   * payloads anew: those of before, without the devices that are gone, and with those
   * that have come.
   *
   * @param {string} number
   * @param {string} id
   * @param {{payloads?: Payload[], ownPayloads?: Payload[]}} [o]
   */
  resend(number, id, { payloads, ownPayloads } = {}) {
    const c = this.store.conversation(number)
    const text = c?.texts.find((t) => t.id === id && t.state === 'failed')
    if (!c || !text) return
    if (payloads) Object.assign(text, { payloads, ownPayloads })
    text.state = 'pending'
    delete text.error
    this.#changed(c)
    this.#queueText(c, text)
  }

  /** @param {Conversation} c @param {Text} text */
  #queueText(c, text) {
    const before = this.#sending.get(c.number) || Promise.resolve()
    this.#sending.set(c.number, before.then(() => this.#deliver(c.number, text.id)))
  }

  /** @param {string} number @param {string} id */
  async #deliver(number, id) {
    const find = () => this.store.conversation(number)?.texts.find((t) => t.id === id)
    const text = find()
    if (!text) return
    /** @type {Partial<Text>} */
    let now = {}
    try {
      const d = { id, to: number, ...(text.payloads ? { payloads: text.payloads, own_payloads: text.ownPayloads } : { body: text.body }), ...(text.type !== 'text/plain' && { type: text.type }), ...(text.life && { expires_ms: text.life }) }
      const stored = await this.#link.request('message.send', d, { keep: true, retryFor: FOREVER })
      const time = stored.time || text.time
      now = { state: 'stored', time, ...(text.life && { expires: time + text.life }) }
    } catch (e) {
      const { code } = /** @type {SwitchboardError} */ (e)
      if (code === 'stopped') return // pending, until the page is back
      now = { state: 'failed', error: code }
    }
    const c = this.store.conversation(number)
    const known = find()
    if (!c || !known) return
    if (known.state !== 'pending') delete now.state // the other side was faster
    Object.assign(known, now)
    this.#changed(c)
    this.#expireTexts()
  }

  /** Takes away the texts whose life is over, and does so again when the next one's is. */
  #expireTexts() {
    clearTimeout(this.#expiryTimer)
    const now = Date.now()
    let next = Infinity
    for (const c of this.store.conversations) {
      const kept = c.texts.filter((t) => !t.expires || t.expires > now)
      for (const t of kept) if (t.expires) next = Math.min(next, t.expires)
      if (kept.length === c.texts.length) continue
      const unread = c.unread ? c.texts.filter((t) => !t.out).slice(-c.unread) : []
      c.unread = unread.filter((t) => kept.includes(t)).length
      c.texts = kept
      this.#changed(c)
    }
    if (next < Infinity) this.#expiryTimer = setTimeout(() => this.#expireTexts(), Math.min(next - now, 1 << 30))
  }

  /** Texts that were not sent when the page was closed. */
  #resumeTexts() {
    for (const c of this.store.conversations) {
      for (const t of c.texts) if (t.state === 'pending') this.#queueText(c, t)
    }
  }

  /** Says that everything in a conversation has been read. @param {string} number */
  markRead(number) {
    const c = this.store.conversation(number)
    if (!c) return
    const last = c.texts.findLast((t) => !t.out)
    if (c.unread) {
      c.unread = 0
      this.#changed(c)
    }
    if (!last || c.read === last.id) return
    c.read = last.id
    this.#changed(c)
    this.#link.abandon(`read ${number}`)
    this.#link.request('message.read', { to: number, id: last.id }, { keep: true, retryFor: FOREVER, tag: `read ${number}` }).catch(() => {})
  }

  /** Tells somebody that one is writing; call it at each key. @param {string} number */
  typing(number) {
    const now = Date.now()
    if (now - (this.#typed.get(number) || 0) < 3000) return
    this.#typed.set(number, now)
    this.#link.tell('typing', { to: number })
  }

  /**
   * Looks a number up: how the server writes it, whether it is there.
   *
   * @param {string} number in any way of writing it
   * @returns {Promise<Presence>} throws a {@link SwitchboardError}: bad_number (`info.reason`), rate_limited, offline
   */
  lookup(number) { return this.#link.request('presence.get', { number }) }

  // --- people

  /**
   * Follows whether numbers are there, as far as their owners let this account
   * see: changes come as `presence`, over reconnects, until {@link unsubscribe}.
   *
   * @param {string[]} numbers in any way of writing them; a session may follow 256
   * @returns {Promise<Presence[]>} how it is now, in their order; throws a
   *   {@link SwitchboardError}: bad_number (`info.index`), too_many, rate_limited, offline
   */
  async subscribe(numbers) {
    /** @type {Presence[]} */
    const all = []
    for (let i = 0; i < numbers.length; i += SUBSCRIBE_BATCH) {
      const presences = await this.#follow(numbers.slice(i, i + SUBSCRIBE_BATCH))
      for (const p of presences) this.#subscribed.add(p.number)
      all.push(...presences)
    }
    return all
  }

  /** @param {string[]} numbers @returns {Promise<Presence[]>} */
  async #follow(numbers) { return (await this.#link.request('presence.subscribe', { numbers })).presences }

  /**
   * Ends subscriptions; without numbers, all of them.
   *
   * @param {string[]} [numbers] as the server writes them
   */
  unsubscribe(numbers = [...this.#subscribed]) {
    for (const n of numbers) this.#subscribed.delete(n)
    for (let i = 0; i < numbers.length; i += SUBSCRIBE_BATCH) {
      this.#link.tell('presence.unsubscribe', { numbers: numbers.slice(i, i + SUBSCRIBE_BATCH) })
    }
  }

  /** A new session knows of no subscriptions. */
  async #subscribeAgain() {
    clearTimeout(this.#subscribeTimer)
    const numbers = [...this.#subscribed]
    try {
      for (let i = 0; i < numbers.length; i += SUBSCRIBE_BATCH) {
        for (const p of await this.#follow(numbers.slice(i, i + SUBSCRIBE_BATCH))) this.#presence(p)
      }
    } catch (e) {
      const { retry, afterMS, code } = /** @type {SwitchboardError} */ (e)
      if (retry && code !== 'offline') this.#subscribeTimer = setTimeout(() => this.#subscribeAgain(), Math.max(afterMS, 1000))
    }
  }

  /** @param {Presence} p */
  #presence(p) { if (this.#subscribed.has(p.number)) this.#fire('presence', p) }

  /** @returns {Promise<Settings>} throws a {@link SwitchboardError}: rate_limited, offline */
  settings() { return this.#link.request('settings.get', {}) }

  /**
   * Changes what is given of the account's settings.
   *
   * @param {Partial<Settings>} change
   * @returns {Promise<Settings>} all of them; throws a {@link SwitchboardError}: invalid, rate_limited, offline
   */
  setSettings(change) { return this.#link.request('settings.set', change) }

  /**
   * Tells whom the account knows, and asks who of them can be called.
   *
   * @param {string[]} numbers in any way of writing them, as many as there are
   * @param {{replace?: boolean}} [o] whether they are all that the account knows
   * @returns {Promise<Contact[]>} one for each, in their order; throws a
   *   {@link SwitchboardError}: too_many, rate_limited (`afterMS`, when the day's look-ups are spent), offline
   */
  async syncContacts(numbers, { replace = false } = {}) {
    /** @type {Contact[]} */
    const all = []
    const parts = batches(numbers)
    if (replace && parts.length === 0) parts.push([])
    for (const [i, part] of parts.entries()) {
      const { contacts } = await this.#link.request('contacts.sync', { numbers: part, ...(replace && i === 0 && { replace }) })
      all.push(...contacts)
    }
    return all
  }

  /** @param {string[]} numbers to be taken from those that the account knows */
  async removeContacts(numbers) {
    for (const part of batches(numbers)) await this.#link.request('contacts.remove', { numbers: part })
  }

  /**
   * Keeps a number from reaching the account; its owner is not told.
   *
   * @param {string} number in any way of writing it
   * @returns {Promise<void>} throws a {@link SwitchboardError}: bad_number, self, too_many, rate_limited, offline
   */
  async block(number) { await this.#link.request('block.add', { number }) }

  /** @param {string} number in any way of writing it */
  async unblock(number) { await this.#link.request('block.remove', { number }) }

  /** @returns {Promise<string[]>} the numbers that the account blocks */
  async blocked() { return (await this.#link.request('block.list', {})).numbers }

  // --- being woken while away

  /**
   * Says how this device is woken for texts and calls while it is not connected;
   * null takes it back. `welcome.push` says which ways there are. In a browser,
   * {@link Client.enablePush} does all of it.
   *
   * @param {PushTarget|null} target
   * @returns {Promise<void>} throws a {@link SwitchboardError}: unsupported, invalid
   */
  async setPush(target) { await this.#link.request('push.set', target ? { target } : {}) }

  /**
   * Has this browser woken for texts and calls while no page is open, by Web Push.
   * Do it from a click the first time, because browsers ask people then, and after
   * each new session, because subscriptions change. The worker is told by `push`
   * events; their JSON is described in PROTOCOL.md, *Waking a device that is away*.
   *
   * @param {ServiceWorkerRegistration} worker
   * @returns {Promise<void>} throws a {@link SwitchboardError}: unsupported (server or browser cannot), push (the browser would not)
   */
  async enablePush(worker) {
    const key = this.welcome?.push?.vapid
    if (!key || !worker.pushManager) throw localError('unsupported', key ? 'This browser cannot be woken.' : 'This server wakes no browsers.')
    const { endpoint, keys } = await subscribeTo(worker.pushManager, key)
    await this.setPush({ kind: 'webpush', endpoint, p256dh: keys?.p256dh, auth: keys?.auth })
  }

  /**
   * Takes that back, at the server and in the browser.
   *
   * @param {ServiceWorkerRegistration} worker
   * @returns {Promise<void>} throws a {@link SwitchboardError}
   */
  async disablePush(worker) {
    await this.setPush(null)
    await (await worker.pushManager?.getSubscription())?.unsubscribe().catch(() => {})
  }

  // --- what the server tells

  #stateChanged() {
    if (this.state !== 'online') this.drained = false
    this.#fire('state')
  }

  /** @param {any} d */
  #welcomed(d) {
    const first = !this.welcome
    this.welcome = d
    this.#mailboxSeq = this.#mailboxItems = this.#mailboxN = 0
    if (d.number && d.number !== this.number) {
      this.store.saveNumber(d.number)
      this.#fire('number', d.number)
    }
    if (d.resumed !== 'full') this.#rebuild(d.calls || [])
    if (d.resumed !== 'full' && this.#subscribed.size) this.#subscribeAgain()
    if (first) this.#resumeTexts()
    if (this.#follows) this.#measure(d.regions || [])
    for (const call of this.calls.values()) call.reachable()
  }

  /** What hello says of the regions. @returns {{round_trips?: Record<string, number>}} */
  #roundTrips() {
    const { at, trips } = this.store.measured
    return this.#follows && Date.now() - at < MEASURE.told && Object.keys(trips).length ? { round_trips: trips } : {}
  }

  /** Measures the regions in the background, if that is due. @param {Array<{name: string, probe: string}>} regions */
  async #measure(regions) {
    if (regions.length < 2 || this.#measuring || Date.now() - this.store.measured.at < MEASURE.again) return
    this.#measuring = true
    await new Promise((go) => setTimeout(go, Math.random() * MEASURE.after))
    /** @type {Record<string, number>} */
    const trips = {}
    for (const { name, probe } of regions.slice(0, MEASURE.regions)) {
      const ms = await roundTrip(probe)
      if (ms >= 0) trips[name] = ms
    }
    this.#measuring = false
    try {
      this.store.saveMeasured({ at: Date.now(), trips })
    } catch (e) {
      this.#fire('trouble', e)
    }
  }

  /** Brings the calls in line with the server's records. @param {any[]} snapshots */
  #rebuild(snapshots) {
    const listed = new Set(snapshots.map((s) => s.call))
    this.#held.clear()
    for (const s of snapshots) {
      const call = this.calls.get(s.call)
      if (call) call.takeUp(s)
      else this.#meet(s)
    }
    for (const call of [...this.calls.values()]) if (!listed.has(call.id)) call.unlisted()
  }

  /** A call that this page does not know: it rings, or the page was loaded anew. @param {any} s */
  #meet(s) {
    if (this.#gone.has(s.call) || s.state === 'ended') return
    if (s.role === 'callee' && (s.state === 'trying' || s.state === 'ringing')) {
      return this.#incoming({ ...s, from: s.peer }, s.candidates || [])
    }
    // Its media went with the page.
    this.#forget(s.call)
    this.#link.request('call.hangup', { call: s.call }, { keep: true, retryFor: 60_000 }).catch(() => {})
  }

  /** @type {Record<string, (d: any) => void>} */
  #handlers = {
    'call.incoming': (d) => this.#incoming(d),
    'call.ringing': (d) => this.calls.get(d.call)?.ringing(d),
    'call.prepared': (d) => this.calls.get(d.call)?.prepared(d),
    'call.answered': (d) => this.calls.get(d.call)?.answered(d),
    'call.candidates': (d) => this.#held.has(d.call) ? void this.#held.get(d.call)?.candidates.push(d) : this.calls.get(d.call)?.candidates(d),
    'call.describe': (d) => this.calls.get(d.call)?.described(d),
    'call.state': (d) => this.calls.get(d.call)?.told(d),
    'call.ended': (d) => this.#held.delete(d.call) ? undefined : this.calls.get(d.call)?.ended(d),
    'mailbox.item': (d) => this.#item(d),
    'mailbox.drained': (d) => {
      if (d.n > this.#mailboxN) return this.#link.broken()
      this.#ackMailbox(d.seq)
      this.drained = true
      this.#expireTexts()
      this.#fire('drained', { missed: d.missed || 0 })
    },
    'typing': (d) => this.#fire('typing', { number: d.from }),
    'presence': (d) => this.#presence(d),
    'settings': (d) => this.#fire('settings', d),
    'going_away': (d) => this.#fire('goingaway', d)
  }

  /** @param {string} t @param {any} d */
  #frame(t, d) {
    try {
      this.#handlers[t]?.(d) // an unknown type is from a newer server
    } catch (e) {
      this.#fire('trouble', e)
    }
  }

  /** @param {any} d */
  #item(d) {
    if (d.n && d.n <= this.#mailboxN) return
    if (d.n > this.#mailboxN + 1) return this.#link.broken() // one got lost on the way
    this.#mailboxN = d.n || 0
    if (this.store.firstTime(`${d.kind} ${d.from} ${d.id}`)) this.#handleItem(d)
    this.#mailboxSeq = Math.max(this.#mailboxSeq, d.seq)
    if (++this.#mailboxItems >= MAILBOX_ACK.items) this.#ackMailbox(this.#mailboxSeq)
    else this.#saveSoon()
  }

  /** @param {any} d */
  #handleItem(d) {
    const mine = d.from === this.number
    const peer = mine ? d.to : d.from
    switch (d.kind) {
      case 'message': return this.#received(peer, mine, d)
      case 'delivered': return mine ? undefined : this.#mark(peer, d.id, 'delivered')
      case 'read': return mine ? this.#readElsewhere(peer, d.id) : this.#mark(peer, d.id, 'read')
      case 'call': return this.#pastCall(peer, mine, d)
    }
  }

  /** @param {string} peer @param {boolean} out @param {any} d */
  #received(peer, out, d) {
    const c = this.store.open(peer)
    if (c.texts.some((t) => t.id === d.id && t.out === out)) return
    /** @type {Text} */
    const text = { id: d.id, out, body: d.body || '', type: d.type || 'text/plain', time: d.time, state: out ? 'stored' : 'received', ...(d.expires && { expires: d.expires }), ...(d.device && { device: d.device }) }
    c.texts.push(text)
    c.time = Math.max(c.time, d.time)
    if (!out) c.unread++
    this.#changed(c)
    if (!out) this.#fire('text', { conversation: c, text })
    if (text.expires) this.#expireTexts()
  }

  /** Everything one sent up to a text is delivered or read. @param {string} peer @param {string} id @param {'delivered'|'read'} state */
  #mark(peer, id, state) {
    const c = this.store.conversation(peer)
    const upto = c ? c.texts.findIndex((t) => t.out && t.id === id) : -1
    if (!c || upto < 0) return
    for (const t of c.texts.slice(0, upto + 1)) if (t.out && t.state !== 'read' && t.state !== 'failed') t.state = state
    this.#changed(c)
  }

  /** Another device of the account has read. @param {string} peer @param {string} id */
  #readElsewhere(peer, id) {
    const c = this.store.conversation(peer)
    const upto = c ? c.texts.findIndex((t) => !t.out && t.id === id) : -1
    if (!c || upto < 0) return
    c.read = id
    c.unread = c.texts.slice(upto + 1).filter((t) => !t.out).length
    this.#changed(c)
  }

  /**
   * What the server has written down of a call. This device may know better why it
   * ended here, but not what became of one that found it busy.
   *
   * @param {string} peer @param {boolean} out @param {any} d
   */
  #pastCall(peer, out, d) {
    const call = d.call || {}
    const known = this.store.calls.find((c) => c.call === call.call)
    const answered = Boolean(call.answered)
    const here = known?.answered || this.calls.get(call.call)?.isAnswered
    const reason = answered && !out && !here ? 'answered_elsewhere' : known?.reason && known.reason !== 'busy' ? known.reason : call.reason
    /** @type {PastCall} */
    const past = {
      call: call.call, peer, out, video: (call.media || []).includes('video'), time: d.time, reason,
      mine: known?.reason === reason && known?.mine === true, answered, duration: call.duration_ms || 0, seen: false
    }
    this.#keep({ ...past, seen: !isMissed(past) })
  }

  /** @param {Conversation} c */
  #changed(c) {
    this.store.touch(c)
    this.#saveSoon()
    this.#fire('conversation', c)
  }

  #saveSoon() {
    this.#mailboxTimer ??= setTimeout(() => this.#ackMailbox(this.#mailboxSeq), MAILBOX_ACK.after / 4)
  }

  /** Writes to the storage first: what is acknowledged is removed on the server. @param {number} seq */
  #ackMailbox(seq) {
    clearTimeout(this.#mailboxTimer)
    this.#mailboxTimer = undefined
    try {
      this.store.save()
    } catch (e) {
      return this.#fire('trouble', e)
    }
    if (this.#mailboxItems > 0 && seq > 0) this.#link.tell('mailbox.ack', { seq })
    this.#mailboxItems = 0
  }

  // --- the world around

  /** Network and page events, while connected. */
  #listen() {
    if (this.#undo.length || typeof window === 'undefined') return
    /** @param {EventTarget|undefined} target @param {string} type @param {(e: any) => void} f */
    const on = (target, type, f) => {
      target?.addEventListener(type, f)
      this.#undo.push(() => target?.removeEventListener(type, f))
    }
    const network = () => {
      this.#link.moved()
      for (const call of this.calls.values()) call.networkChanged()
    }
    on(window, 'online', network)
    const connection = /** @type {any} */ (navigator).connection
    let kind = connection?.type
    on(connection, 'change', () => { // it also tells of mere estimates
      if (kind === connection.type) return
      kind = connection.type
      network()
    })
    on(navigator.mediaDevices, 'devicechange', () => {
      this.#fire('media')
      for (const call of this.calls.values()) call.sourcesChanged()
    })
    on(document, 'visibilitychange', () => { if (!document.hidden) this.#link.poke() })
    on(window, 'pagehide', () => {
      for (const call of this.calls.values()) call.hangup()
      try { this.store.save() } catch { /* nobody is left to tell */ }
      this.#link.rest() // or a page that the browser keeps would be taken to be here
    })
    on(window, 'pageshow', (e) => { if (e.persisted) this.#link.poke() })
    this.#refreshTimer = setInterval(() => this.#refreshIfDue(), REFRESH_CHECK)
  }

  #unlisten() {
    for (const f of this.#undo.splice(0)) f()
    clearTimeout(this.#expiryTimer)
    clearInterval(this.#refreshTimer)
  }

  /** A token is refreshed in the second half of its life. */
  async #refreshIfDue() {
    const device = this.store.device
    if (!device || Date.now() < (device.obtained + device.expires) / 2) return
    try {
      this.store.saveDevice(await this.#anywhere((base) => refresh({ token: device.token, base })))
      this.#fire('token')
    } catch (e) {
      this.#fire('trouble', e) // the socket will say whether the token still serves
    }
  }

  /**
   * Does something at the first of the server's URLs that can be reached.
   *
   * @template T
   * @param {(base: string) => Promise<T>} f
   * @returns {Promise<T>}
   */
  async #anywhere(f) {
    for (const [i, base] of this.#bases.entries()) {
      try {
        return await f(base)
      } catch (e) {
        if (i === this.#bases.length - 1 || /** @type {SwitchboardError} */ (e).code !== 'network') throw e
      }
    }
    throw localError('network', 'There is no server.', true)
  }

  /** @param {string} type @param {unknown} [detail] */
  #fire(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })) }
}

/** Numbers such that each part fits into a contacts.sync. @param {string[]} numbers */
function batches(numbers) {
  /** @type {string[][]} */
  const parts = []
  let bytes = 0
  for (const n of numbers) {
    const size = sizeOf(n)
    const part = parts.at(-1)
    if (part && part.length < CONTACTS_BATCH.numbers && bytes + size <= CONTACTS_BATCH.bytes) {
      part.push(n)
      bytes += size
    } else {
      parts.push([n])
      bytes = size
    }
  }
  return parts
}

/** @param {string} base */
function socketURL(base) {
  const u = new URL(SOCKET_PATH, base || globalThis.location?.href)
  u.protocol = u.protocol === 'http:' ? 'ws:' : 'wss:'
  return u.href
}

/**
 * The shortest of some round trips, in whole ms; -1 where nobody answers as a
 * node does. The first opens the connection and does not count.
 *
 * @param {string} probe
 */
async function roundTrip(probe) {
  let best = Infinity
  try {
    for (let i = 0; i <= MEASURE.probes; i++) {
      const begun = performance.now()
      const reply = await fetch(probe, {
        cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer', signal: AbortSignal.timeout(MEASURE.timeout)
      })
      if (reply.status !== 204) return -1
      if (i > 0) best = Math.min(best, performance.now() - begun)
    }
  } catch {
    return -1
  }
  return Math.min(Math.round(best), MEASURE.most)
}

// ----------------------------------------------------------------------- call

const CANDIDATES_AFTER = 100
const CANDIDATES_BATCH = 32
/** How long media may be away before a side restarts ICE; the polite side gives the other the first try. */
const RESTART = freeze({
  caller: freeze({ disconnected: 3000, failed: 0 }),
  callee: freeze({ disconnected: 6000, failed: 2000 }),
  again: 8000
})
const ICE_TIMEOUT = 10_000
const MEASURE_EVERY = 1000
/** How often operators are told how media came. */
const QUALITY_EVERY = 20_000
/** How long the callee leaves it to the caller to restart ICE with addresses that were kept back while it rang. */
const DISCLOSE_AFTER = 1000
const GENERATIONS = 4
/** How long a device that has changed its network may take to have an address there. */
const NETWORK_SETTLES = 500
/** The most that a report may say, in ms. */
const MOST_MS = 600_000
/** @type {Media[]} */
const KINDS_OF_MEDIA = ['audio', 'video']
/** How many calls a device takes part in, the one that waits included. */
const CALLS = 2

/** @typedef {{rtt: number|null, loss: number|null, jitter: number|null, up: number, down: number, framesDecoded: number, width: number, height: number, quality: number}} CallStats */
/** @typedef {{received: number, lost: number, jitter_ms: number, rtt_ms: number}} Figures */

/**
 * A call and its RTCPeerConnection. It fires `change` whenever something that
 * can be read here has changed, and `stats` once a second while media flows.
 *
 * Media is set up while it rings, so that it flows as soon as somebody answers,
 * and not before: until then no sender has a track, and whoever is called has
 * not opened the microphone.
 */
export class Call extends EventTarget {
  /** @type {CallPhase} */ state = 'starting'
  /** Why it ended, one of {@link REASONS}; empty when {@link Call.error} says it. */
  reason = ''
  /** Whether this account ended it. */
  mine = false
  /** What kept the call from being placed or answered. @type {SwitchboardError|null} */ error = null
  /** Date.now() when it began, when it was answered (0: not yet), when it ended. */
  startedAt = Date.now()
  answeredAt = 0
  endedAt = 0
  /** How long it lasted, in ms, from answer to end. */
  duration = 0
  /** What it was placed with. @type {Media[]} */ media
  /** Microphone and camera. @type {MediaStream|null} */ localStream = null
  /** The screen that is shared in the camera's place. @type {MediaStream|null} */ screenStream = null
  remoteStream = new MediaStream()
  /** Whether a picture comes from the other side. */
  remoteVideo = false
  muted = false
  cameraOn = false
  /** Whether this side has put the call on hold: nothing is sent or shown until {@link Call.resume}. */
  held = false
  /** Whether the other side has. */
  heldByPeer = false
  /** Whether it rings beside another call of this device. */
  waiting = false
  /** Whether the device that rings at the other side is in another call. */
  peerInCall = false
  /** From the answer, as this side saw it, to the first media of the other side, in ms; null until it has come. @type {number|null} */
  answerToMediaMs = null
  /** What carries the media. @type {Path|null} */ path = null
  /** @type {CallStats|null} */ stats = null
  /** Set when the server merged this call into another, which is to come. */
  mergedInto = ''
  /** The connection itself, for what is not offered here. @type {RTCPeerConnection|null} */ pc = null

  #client
  #link
  /** @type {any} what call.incoming brought */ #received = null
  #relayOnly
  #answering = false
  /** @type {Promise<unknown>} operations on the connection, one after the other */ #queue = Promise.resolve()
  /** @type {Record<string, ReturnType<typeof setTimeout>|undefined>} */ #timers = {}
  #server = ''
  #everConnected = false
  #reported = ''
  #meter = new Meter()

  // Which candidates may be used.
  /** @type {ICE} */ #ice = { servers: [] }
  /** Whether it is answered, or about to be: addresses need not be kept back any longer. */ #disclosed = false
  /** Whether the connection was made while they were. */ #kept = false

  // Media before the answer.
  /** Until the connection is prepared, or will not be. @type {Promise<void>|undefined} */ #preparing
  /** The callee's: what it answers with. */ #answerSDP = ''
  /** The caller's: the answer that it has set already. */ #preparedSDP = ''

  // Figures for operators.
  /** When it was answered, as performance.now() counts. */ #answeredTick = 0
  #firstMediaTick = 0
  /** @type {Figures|null} */ #figures = null
  #figuresAt = 0

  // Descriptions.
  #sentN = 0
  #lastOffer = 0
  #handledN = 0
  #ufrag = ''
  /** Answers to come to offers that were withdrawn. */ #stale = 0

  // Candidates.
  #open = false
  /** @type {{gen: string, n: number, total: number, list: object[], end: boolean}} */ #out = { gen: '', n: 0, total: 0, list: [], end: false }
  /** @type {Map<string, {seen: Set<number>, waiting: any[]}>} by generation of the other side */ #in = new Map()

  /**
   * Use {@link Client.call}, or the event `call`.
   *
   * @param {Client} client
   * @param {Link} link
   * @param {{id: string, role: Role, peer: string, video: boolean, relayOnly: boolean}} o
   */
  constructor(client, link, { id, role, peer, video, relayOnly }) {
    super()
    this.#client = client
    this.#link = link
    this.id = id
    /** @type {Role} */
    this.role = role
    /** The other's number; as it was dialled until the server has read it. */
    this.peer = peer
    this.media = video ? ['audio', 'video'] : ['audio']
    this.#relayOnly = relayOnly
  }

  /** Whether the call is answered. */
  get isAnswered() { return this.answeredAt > 0 }
  /** Whether the screen is shared. */
  get sharing() { return this.screenStream !== null }

  // --- what people do

  /**
   * Answers. Throws a {@link SwitchboardError} `media` when the microphone cannot
   * be opened; the call rings on then. One call has media at a time: others of
   * this device are put on hold, or ended once this one is answered.
   *
   * @param {{video?: boolean, others?: 'hold'|'end'}} [o] whether to send a picture, and what becomes of other calls
   */
  async accept({ video = this.media.includes('video'), others = 'hold' } = {}) {
    if (this.role !== 'callee' || this.state !== 'ringing' || this.#answering) return
    this.#answering = true
    try {
      await this.#openMedia(video)
      const held = this.#client.alone(this)
      await this.#answer()
      if (this.#over) for (const call of held) call.resume()
      else if (others === 'end') for (const call of this.#client.calls.values()) if (call !== this && call.isAnswered) call.hangup()
    } catch (e) {
      if (/** @type {SwitchboardError} */ (e).code === 'media') throw e
      this.#finish({ error: asError(e) })
    } finally {
      this.#answering = false
    }
  }

  /** Declines, on all devices of the account. */
  reject() { this.#decline('call.reject', 'declined') }

  /** Says that this device alone cannot take the call. */
  busy() { this.#decline('call.busy', 'busy') }

  /** @param {string} type @param {string} reason */
  #decline(type, reason) {
    if (this.role !== 'callee' || this.state !== 'ringing') return
    this.#link.abandon(this.id)
    this.#link.request(type, { call: this.id }, { keep: true, retryFor: 30_000 }).catch(() => {})
    this.#finish({ reason, mine: true })
  }

  /**
   * Ends the call, in whatever state it is, connected to the server or not.
   *
   * @param {'hangup'|'ice_failed'|'media_failed'} [why]
   */
  hangup(why = 'hangup') {
    if (this.state === 'ended') return
    const early = !this.isAnswered
    const known = this.#link.abandon(this.id) || this.state !== 'starting' || this.role === 'callee'
    this.#reportFigures()
    if (known) this.#hangUp(this.id, why)
    if (this.mergedInto) this.#hangUp(this.mergedInto, why)
    this.#finish({ reason: early && why === 'hangup' ? (this.role === 'caller' ? 'canceled' : 'declined') : why, mine: true })
  }

  /** @param {string} call @param {string} why */
  #hangUp(call, why) {
    const d = why === 'hangup' ? { call } : { call, why }
    this.#link.request('call.hangup', d, { keep: true, retryFor: 60_000 }).catch(() => {})
  }

  /** @param {boolean} muted */
  setMuted(muted) {
    this.muted = muted
    for (const t of this.localStream?.getAudioTracks() || []) t.enabled = !muted
    this.#fire('change')
  }

  /**
   * Puts an answered call on hold: the other side is told, nothing of this side
   * is sent, nothing of the other comes. Microphone and camera stay open, for
   * when it is resumed.
   */
  async hold() {
    if (!this.isAnswered || this.held || this.#over) return
    this.held = true
    this.#tracks()
    return this.#serially(() => this.#arrange())
  }

  /** Goes on with a call that was on hold; others are put on hold. */
  async resume() {
    if (!this.held || this.#over) return
    this.#client.alone(this)
    this.held = false
    this.#fire('change')
    const lost = this.localStream?.getAudioTracks().some((t) => t.readyState === 'ended' || t.muted)
    if (lost) await this.reopen({ audio: true }).catch((e) => this.#client.dispatchEvent(new CustomEvent('trouble', { detail: e })))
    return this.#serially(() => this.#arrange())
  }

  /**
   * Turns the camera on or off; the call is renegotiated where it must be.
   * Throws a {@link SwitchboardError} `media` when there is no camera to open.
   *
   * @param {boolean} on
   */
  async setCamera(on) {
    if (on === this.cameraOn || this.state === 'ended') return
    if (!on) return this.#serially(() => this.#cameraOff())
    const stream = await this.#client.open({ audio: false, video: true })
    const [track] = stream.getVideoTracks()
    if (this.#over || this.cameraOn || !track) return stopTracks(stream)
    this.localStream ??= new MediaStream()
    this.localStream.addTrack(this.#watched(track))
    this.cameraOn = true
    this.#fire('change')
    return this.#serially(() => this.#arrange())
  }

  async #cameraOff() {
    this.cameraOn = false
    for (const t of this.localStream?.getVideoTracks() || []) {
      t.stop()
      this.localStream?.removeTrack(t)
    }
    await this.#arrange()
    this.#fire('change')
  }

  /**
   * Shares the screen, or a part of it that the browser asks for, in the camera's
   * place; it ends with {@link Call.stopSharing} or by the browser's own button.
   * Call it from a click. Throws a {@link SwitchboardError} `media`, with
   * `info.name` `NotAllowedError` when people chose nothing.
   */
  async shareScreen() {
    if (!this.isAnswered || this.sharing || this.#over) return
    const stream = await openScreen()
    const [track] = stream.getVideoTracks()
    if (this.#over || this.sharing || !track) return stopTracks(stream)
    track.contentHint = 'detail' // text is to be read
    track.addEventListener('ended', () => { if (stream === this.screenStream) this.stopSharing() })
    this.screenStream = stream
    this.#fire('change')
    return this.#serially(() => this.#arrange())
  }

  /** Shows the camera again, if it is on. */
  async stopSharing() {
    if (!this.screenStream) return
    stopTracks(this.screenStream)
    this.screenStream = null
    this.#fire('change')
    return this.#serially(() => this.#arrange())
  }

  /**
   * Opens microphone or camera anew, as they are chosen now, if they are open.
   * The call is not renegotiated. {@link Client.choose} does it for all calls.
   *
   * @param {{audio?: boolean, video?: boolean}} what
   * @returns {Promise<void>} throws a {@link SwitchboardError} `media`; then the old one stays, or the camera is off
   */
  async reopen({ audio = false, video = false }) {
    const stream = this.localStream
    if (!stream || this.#over) return
    if (audio) await this.#swap(stream, { audio: true, video: false })
    if (!video || !this.cameraOn) return
    for (const t of stream.getVideoTracks()) t.stop() // many phones open one camera at a time
    try {
      await this.#swap(stream, { audio: false, video: true })
    } catch (e) {
      await this.#serially(() => this.#cameraOff())
      throw e
    }
  }

  /** @param {MediaStream} stream @param {{audio: boolean, video: boolean}} want */
  async #swap(stream, want) {
    const fresh = await this.#client.open(want)
    if (this.#over || (want.video && !this.cameraOn)) return stopTracks(fresh)
    for (const t of want.audio ? stream.getAudioTracks() : stream.getVideoTracks()) {
      t.stop()
      stream.removeTrack(t)
    }
    for (const t of fresh.getTracks()) stream.addTrack(this.#watched(t))
    this.setMuted(this.muted)
    return this.#serially(() => this.#arrange())
  }

  /**
   * A device may be pulled out: another microphone takes over, a camera is off. Where
   * there is no other the client fires `trouble`, `media`, and the call goes on.
   *
   * @param {MediaStreamTrack} track
   */
  #watched(track) {
    track.addEventListener('ended', () => {
      if (this.#over || !this.localStream?.getTracks().includes(track)) return
      const done = track.kind === 'audio' ? this.reopen({ audio: true }) : this.setCamera(false)
      done?.catch((e) => this.#client.dispatchEvent(new CustomEvent('trouble', { detail: e })))
    })
    return track
  }

  /**
   * Restarts ICE with fresh relay credentials. Needed by nobody but tests and
   * impatient people: the call does it by itself.
   *
   * @param {{relayOnly?: boolean}} [o] from now on through relays alone
   */
  async restart({ relayOnly = false } = {}) { return this.#restart(relayOnly, true) }

  /** @param {boolean} relayOnly @param {boolean} ask for servers first: those at hand may be old */
  async #restart(relayOnly, ask) {
    if (!this.isAnswered || this.#over || !this.pc) return
    const pc = this.pc
    this.#relayOnly ||= relayOnly
    this.#clear('disclose')
    this.#arm('restart', RESTART.again, () => { if (this.pc?.connectionState !== 'connected') this.restart() })
    const ice = ask && await this.#link.request('ice.get', { call: this.id }, { keep: true, timeout: 3000, tag: this.id }).catch(() => null)
    await this.#serially(async () => {
      if (pc !== this.pc) return
      if (pc.signalingState === 'have-local-offer') {
        await pc.setLocalDescription({ type: 'rollback' })
        this.#stale++
      }
      if (ice) this.#ice = ice
      this.#configure(pc)
      pc.restartIce()
    })
  }

  #useRelays() {
    this.#relayOnly = true
    if (this.pc) this.#configure(this.pc)
  }

  // From here on all is for the client; pages have no use for it.

  // --- placing a call

  /** Called by the client. */
  async invite() {
    const { id } = this
    try {
      const [, ice] = await Promise.all([
        this.#openMedia(this.media.includes('video')),
        this.#link.request('ice.get', { call: this.id, to: this.peer }, { keep: true, timeout: ICE_TIMEOUT, retryFor: ICE_TIMEOUT / 2, tag: this.id })
      ])
      if (this.#over || this.id !== id) return
      this.#ice = ice
      const pc = this.#connect()
      this.#offerMedia(pc)
      await pc.setLocalDescription()
      if (this.#over || this.id !== id) return
      this.#ufrag = ufragOf(pc.localDescription?.sdp)
      const reply = await this.#link.request('call.invite', { call: this.id, to: this.peer, media: this.media, sdp: pc.localDescription?.sdp }, { keep: true, retryFor: 8000, tag: this.id })
      if (this.id === id) this.#invited(reply)
    } catch (e) {
      if (this.id === id) this.#finish({ error: asError(e) }) // else it was merged, and goes on
    }
  }

  /** @param {any} reply */
  #invited(reply) {
    if (this.#over) return
    this.peer = reply.to || this.peer
    if (reply.merged) return this.#toBeMerged(reply.merged)
    if (this.state === 'starting') this.state = reply.state === 'ringing' ? 'ringing' : 'trying'
    this.#trickle()
    this.#fire('change')
  }

  /** @param {string} other */
  #toBeMerged(other) {
    this.mergedInto = other || this.mergedInto
    this.#closeConnection()
    this.#arm('merge', ICE_TIMEOUT, () => this.hangup())
    this.#client.merged(this)
  }

  /** Whether an incoming call may be the one that this call is merged into. @param {string} id @param {string} from */
  mayMerge(id, from) {
    if (this.role !== 'caller' || this.isAnswered || this.state === 'ended') return false
    const dialled = this.peer.replace(/\D/g, '').replace(/^0+/, '')
    return this.mergedInto === id || this.peer === from || (dialled.length > 4 && from.endsWith(dialled))
  }

  /** Goes on as the other side's call, which it answers. @param {any} d call.incoming */
  async adopt(d) {
    this.#link.abandon(this.id)
    this.#closeConnection()
    this.#clear('merge')
    this.#in.clear()
    this.#open = false
    this.#out = { gen: '', n: 0, total: 0, list: [], end: false }
    this.#sentN = this.#handledN = this.#lastOffer = 0
    this.#preparedSDP = ''
    this.mergedInto = ''
    this.id = d.call
    this.role = 'callee'
    this.peer = d.from
    this.#received = d
    try {
      await this.#answer()
    } catch (e) {
      this.#finish({ error: asError(e) })
    }
  }

  // --- taking a call

  /** Called by the client. @param {any} d call.incoming */
  ring(d) {
    this.#received = d
    this.startedAt = Date.now() - (d.age_ms || 0)
    this.state = 'ringing'
    this.#link.request('call.ringing', { call: this.id, ...(this.waiting && { waiting: true }) }, { keep: true, timeout: ICE_TIMEOUT, tag: this.id }).catch(() => {})
    // The server ends it; this is for when the server cannot be heard.
    this.#arm('ring', Math.max(0, (d.ring_ms || 45_000) - (d.age_ms || 0)) + ICE_TIMEOUT, () => this.#finish({ reason: 'no_answer' }))
    if (this.#client.prepares) this.#preparing = this.#prepare()
  }

  /** Sets media up while it rings, and sends none. The server chooses one device that may. */
  async #prepare() {
    const { ice, sdp } = this.#received
    if ((this.#relayOnly || ice?.policy) && !hasRelay(ice)) return
    try {
      this.#answerSDP = await this.#makeAnswer(ice, sdp, true)
    } catch {
      return this.#unprepare() // the answer will say what is wrong
    }
    if (this.#over || !this.#answerSDP) return
    this.#link.request('call.prepare', { call: this.id, sdp: this.#answerSDP }, { keep: true, retryFor: ICE_TIMEOUT, tag: this.id })
      .then((reply) => reply.prepared ? this.#trickle() : this.#unprepare(), () => this.#unprepare())
  }

  /** Another device is prepared, or none: what this one has made is of no use, unless it is being answered with. */
  #unprepare() {
    if (this.#answering || this.isAnswered) return
    this.#closeConnection()
    this.#answerSDP = ''
  }

  /** Takes the offer and returns an answer to it. @param {ICE} ice @param {string} offer @param {boolean} early before anybody answers */
  async #makeAnswer(ice, offer, early) {
    this.#ice = ice
    this.#disclosed = !early
    const pc = this.#connect()
    await pc.setRemoteDescription({ type: 'offer', sdp: offer })
    for (const kind of KINDS_OF_MEDIA) {
      const t = transceiverOf(pc, kind)
      if (t) t.direction = early || this.#outgoing(kind) ? 'sendrecv' : 'recvonly'
    }
    await pc.setLocalDescription()
    if (pc !== this.pc) return ''
    this.#ufrag = ufragOf(pc.localDescription?.sdp)
    this.#takeWaiting()
    return pc.localDescription?.sdp || ''
  }

  async #answer() {
    const d = this.#received
    if (this.#over) return
    await this.#preparing
    const sdp = this.#answerSDP ||= await this.#makeAnswer(d.ice || this.#ice, d.sdp, false)
    if (this.#over) return
    this.#clear('ring')
    this.waiting = false
    this.state = 'connecting'
    this.#fire('change')
    const began = performance.now()
    try {
      await this.#link.request('call.answer', { call: this.id, sdp }, { keep: true, retryFor: 15_000, tag: this.id })
    } catch (e) {
      if (!await this.#tookIt(asError(e))) return
    }
    if (this.#over) return
    this.#trickle()
    this.#begin(began)
    await this.#serially(() => this.#arrange())
    if (!this.#kept || !this.pc) return
    this.#configure(this.pc)
    this.#arm('disclose', DISCLOSE_AFTER, () => this.restart())
  }

  /** An answer was refused: by a repeat that had been taken before, or because somebody else was faster. @param {SwitchboardError} e */
  async #tookIt(e) {
    if (e.code !== 'call_state' && e.code !== 'call_ended') throw e
    const snap = e.code === 'call_state' && await this.#link.request('call.sync', { call: this.id }).catch(() => null)
    if (snap && ['connecting', 'active', 'reconnecting'].includes(snap.state)) return true
    this.#finish({ reason: snap?.reason || e.info.reason || 'answered_elsewhere' })
    return false
  }

  /** The call is answered: from here on media may flow. @param {number} at as performance.now() counts */
  #begin(at) {
    this.answeredAt = Date.now()
    this.#answeredTick = this.#figuresAt = at
    this.#disclosed = true
    this.#tracks()
    this.#connectionChanged()
  }

  // --- what the server tells

  /** A device rings. @param {{waiting?: boolean}} [d] */
  ringing({ waiting = false } = {}) {
    if (this.role !== 'caller' || this.isAnswered || this.#over) return
    this.state = 'ringing'
    this.peerInCall = waiting
    this.#fire('change')
  }

  /** A device that rings has set media up. @param {{sdp: string}} d */
  prepared(d) {
    if (this.role !== 'caller' || this.isAnswered || this.#over) return
    if (this.#ice.policy === 'relay_first' && !hasRelay(this.#ice)) return // it waits for the answer
    this.#serially(async () => {
      if (this.#preparedSDP || this.pc?.signalingState !== 'have-local-offer') return
      await this.pc.setRemoteDescription({ type: 'answer', sdp: d.sdp })
      this.#preparedSDP = d.sdp
      this.#takeWaiting()
    })
  }

  /** @param {{sdp?: string}} d without a description where that was missed, and has been replaced since */
  answered(d) {
    if (this.role !== 'caller' || this.isAnswered || this.#over) return
    this.state = 'connecting'
    this.#begin(performance.now())
    this.#trickle()
    this.#serially(async () => {
      if (!d.sdp || (this.#preparedSDP && this.#preparedSDP !== d.sdp)) return this.#renew() // perhaps by another device than the one that was prepared
      const pc = this.pc
      if (!pc) return
      if (!this.#preparedSDP) await pc.setRemoteDescription({ type: 'answer', sdp: d.sdp })
      await this.#arrange()
      this.#takeWaiting()
      this.#tracks()
      if (!this.#kept) return
      this.#kept = false
      this.#configure(pc)
      pc.restartIce()
    })
  }

  /** Begins ICE and DTLS anew with another device of the other side. */
  async #renew() {
    this.#closeConnection()
    const pc = this.#connect()
    this.#offerMedia(pc)
    await this.#arrange()
    await pc.setLocalDescription()
    this.#describe({ renew: true })
    this.#lastOffer = this.#sentN
  }

  /** @param {any} d call.state */
  told(d) {
    if (this.#over) return
    if (d.state === 'ringing') this.ringing({ waiting: this.peerInCall })
    else if (this.isAnswered) this.#server = d.state
    if (d.ice) { // a relay of the call is about to stop, or has died
      this.#ice = d.ice
      if (this.pc) this.#configure(this.pc)
    }
    if (d.restart) this.#restart(Boolean(d.relay_only), !d.ice)
    else if (d.relay_only) this.#useRelays() // the other side restarts
    this.#review()
  }

  /** @param {any} d call.ended */
  ended(d) {
    if (d.reason === 'merged' && this.role === 'caller' && !this.isAnswered) return this.#toBeMerged('')
    this.#reportFigures()
    this.#finish({ reason: d.reason, mine: d.mine, duration: d.duration_ms })
  }

  /** The session was begun anew: takes the server's record for what was missed. @param {any} s a snapshot */
  takeUp(s) {
    if (this.#over) return
    if (s.state === 'ended') return this.#finish({ reason: s.reason })
    this.peer = s.peer || this.peer
    if (this.role === 'caller' && !this.isAnswered) {
      if (s.state === 'ringing') this.ringing({ waiting: this.peerInCall })
      if (s.kind === 'pranswer' && s.sdp) this.prepared(s)
      else if (s.kind === 'answer' && s.sdp) this.answered(s)
      else if (['connecting', 'active', 'reconnecting'].includes(s.state)) this.answered({}) // and the callee has offered since
    }
    if (this.isAnswered && s.n > this.#handledN && s.sdp && !(s.kind === 'answer' && (s.sent || 0) < this.#lastOffer)) {
      this.described({ n: s.n, kind: s.kind, sdp: s.sdp })
    }
    for (const c of s.candidates || []) this.candidates(c)
    if (this.isAnswered) this.#server = s.state
    this.#review()
  }

  /** The server does not list the call any more, or not yet. */
  async unlisted() {
    if (this.#over || this.state === 'starting') return
    const s = await this.#link.request('call.sync', { call: this.id }).catch((e) => e)
    if (this.#over) return
    if (s instanceof SwitchboardError) {
      if (s.retry) return
      return this.#finish({ reason: s.info.reason || (this.isAnswered ? 'connection_lost' : this.role === 'callee' ? 'canceled' : 'unreachable') })
    }
    this.takeUp(s)
  }

  /** The server can be reached again. */
  reachable() {
    const state = this.pc?.connectionState
    if (this.isAnswered && (state === 'disconnected' || state === 'failed')) this.#arm('restart', this.role === 'caller' ? 0 : 1000, () => this.restart())
  }

  /** This side has another network. */
  networkChanged() {
    if (this.isAnswered && !this.#over) this.#arm('restart', NETWORK_SETTLES, () => this.restart())
  }

  /** Microphones or cameras came or went: where there was none left, there may be one now. */
  sourcesChanged() {
    if (this.localStream?.getAudioTracks().some((t) => t.readyState === 'ended')) this.reopen({ audio: true }).catch(() => {}) // said before
  }

  /** There is no other call any more. */
  alone() {
    if (!this.waiting) return
    this.waiting = false
    this.#fire('change')
  }

  // --- the connection

  #connect() {
    const pc = new RTCPeerConnection({ iceServers: iceServers(this.#ice), iceTransportPolicy: this.#transportPolicy, bundlePolicy: 'max-bundle' })
    this.pc = pc
    this.#kept = this.#keeps
    /** @param {() => void} f */
    const mine = (f) => () => { if (pc === this.pc) f() }
    pc.onnegotiationneeded = mine(() => this.#serially(() => this.#offer()))
    pc.onicecandidate = (e) => { if (pc === this.pc) this.#found(e.candidate) }
    pc.onconnectionstatechange = mine(() => this.#connectionChanged())
    pc.ontrack = (e) => {
      if (pc !== this.pc) return
      e.track.onmute = mine(() => this.#tracks())
      e.track.onunmute = mine(() => {
        this.#firstMediaTick ||= performance.now()
        this.#tracks()
      })
      this.#tracks()
    }
    return pc
  }

  /** Whether addresses are kept back now. Without a relay nothing goes to the other side yet, so that all may be looked for. */
  get #keeps() { return this.#ice.policy === 'relay_first' && !this.#disclosed && hasRelay(this.#ice) }

  /** @returns {RTCIceTransportPolicy} */
  get #transportPolicy() { return this.#relayOnly || this.#ice.policy === 'relay' || this.#keeps ? 'relay' : 'all' }

  /** @param {RTCPeerConnection} pc */
  #configure(pc) {
    pc.setConfiguration({ ...pc.getConfiguration(), iceServers: iceServers(this.#ice), iceTransportPolicy: this.#transportPolicy })
  }

  #closeConnection() {
    const pc = this.pc
    this.pc = null
    this.#clear('measure')
    pc?.close()
  }

  /** @param {boolean} video */
  async #openMedia(video) {
    if (this.localStream) return
    const stream = await this.#client.open({ audio: true, video })
    if (this.#over) return stopTracks(stream)
    for (const t of stream.getTracks()) this.#watched(t)
    this.localStream = stream
    this.cameraOn = stream.getVideoTracks().length > 0
    this.setMuted(this.muted)
  }

  /** What this side would send now. @param {Media} kind @returns {MediaStreamTrack|undefined} */
  #outgoing(kind) {
    if (kind === 'audio') return this.localStream?.getAudioTracks()[0]
    return this.screenStream?.getVideoTracks()[0] || (this.cameraOn ? this.localStream?.getVideoTracks()[0] : undefined)
  }

  /** Offers the call's media, without a track yet. Without a camera of one's own the other's picture is still welcome. @param {RTCPeerConnection} pc */
  #offerMedia(pc) {
    const streams = this.localStream ? [this.localStream] : []
    for (const kind of this.media) pc.addTransceiver(kind, { direction: this.#outgoing(kind) ? 'sendrecv' : 'recvonly', streams })
  }

  /** Gives senders their tracks and transceivers their directions, as things are now; renegotiation follows where it must. */
  async #arrange() {
    const pc = this.pc
    if (!pc || pc.signalingState === 'closed' || !this.isAnswered) return
    for (const kind of KINDS_OF_MEDIA) {
      const track = this.#outgoing(kind)
      const t = transceiverOf(pc, kind)
      if (!t) {
        if (track && !this.held) pc.addTrack(track, /** @type {MediaStream} */ (this.localStream))
        continue
      }
      const now = this.held ? null : track || null
      if (t.sender.track !== now) await t.sender.replaceTrack(now)
      // The one who holds goes on sending in the description, so that each side can tell whether the other holds.
      const direction = this.held ? (kind === 'audio' ? 'sendonly' : 'inactive') : track ? 'sendrecv' : 'recvonly'
      if (t.direction !== direction) t.direction = direction
    }
  }

  /** Looks at what comes from the other side. */
  #tracks() {
    const pc = this.pc
    let video = false
    for (const t of pc?.getTransceivers() || []) {
      const track = t.receiver.track
      const here = this.isAnswered && !this.held && Boolean(t.currentDirection?.includes('recv'))
      if (here) this.remoteStream.addTrack(track)
      else this.remoteStream.removeTrack(track)
      video ||= here && track.kind === 'video' && !track.muted
    }
    const sound = pc && transceiverOf(pc, 'audio')
    if (sound?.currentDirection && pc?.signalingState === 'stable') this.heldByPeer = sound.direction.includes('send') && !sound.currentDirection.includes('send')
    if (this.isAnswered && this.answerToMediaMs === null && this.#firstMediaTick) this.answerToMediaMs = Math.max(0, Math.round(this.#firstMediaTick - this.#answeredTick))
    this.remoteVideo = video
    this.#fire('change')
  }

  /** Takes the candidates that came before the description that they belong to. */
  #takeWaiting() {
    const gen = this.#in.get(ufragOf(this.pc?.remoteDescription?.sdp))
    for (const d of gen?.waiting.splice(0) || []) this.#addCandidates(d)
  }

  // Perfect negotiation (WebRTC §10.7): the callee is polite. The operations run
  // one after the other, so that signalingState alone tells a collision.

  async #offer() {
    const pc = this.pc
    if (!pc || !this.isAnswered || pc.signalingState !== 'stable') return
    await pc.setLocalDescription()
    this.#describe()
    this.#lastOffer = this.#sentN
  }

  /** Sends the local description. @param {{renew?: boolean}} [how] */
  #describe({ renew = false } = {}) {
    const desc = this.pc?.localDescription
    if (!desc) return
    const ufrag = ufragOf(desc.sdp)
    const restart = desc.type === 'offer' && ufrag !== this.#ufrag && !renew
    this.#ufrag = ufrag
    const d = { call: this.id, n: ++this.#sentN, kind: desc.type, sdp: desc.sdp, ...(restart && { restart }), ...(renew && { renew }) }
    // Candidates of a generation that the server has not heard of are lost.
    this.#open = false
    this.#link.request('call.describe', d, { keep: true, retryFor: 30_000, tag: this.id }).then(() => { if (d.n === this.#sentN) this.#trickle() }, () => {})
  }

  /** @param {{n: number, kind: string, sdp?: string, renew?: boolean}} d */
  described(d) {
    if (this.#over || d.n <= this.#handledN) return
    this.#handledN = d.n
    this.#serially(() => d.kind === 'offer' ? this.#takeOffer(d) : d.kind === 'answer' ? this.#takeAnswer(d) : undefined)
  }

  /** @param {{sdp?: string, renew?: boolean}} d */
  async #takeOffer(d) {
    if (d.renew) {
      this.#closeConnection()
      this.#connect()
    }
    const pc = this.pc
    if (!pc) return
    const collision = pc.signalingState !== 'stable'
    if (collision && this.role === 'caller') return
    await pc.setRemoteDescription({ type: 'offer', sdp: d.sdp }) // takes back an offer of our own
    this.#stale = 0
    await this.#arrange()
    const before = this.#ufrag
    await pc.setLocalDescription()
    this.#describe()
    if (this.#ufrag !== before) this.#clear('disclose')
    this.#takeWaiting()
    this.#tracks()
  }

  /** @param {{sdp?: string}} d */
  async #takeAnswer(d) {
    if (this.#stale > 0) {
      this.#stale--
      return
    }
    if (this.pc?.signalingState !== 'have-local-offer') return
    await this.pc.setRemoteDescription({ type: 'answer', sdp: d.sdp })
    this.#takeWaiting()
    this.#tracks()
  }

  /** @param {() => any} f */
  #serially(f) {
    const done = this.#queue.then(f)
    this.#queue = done.catch((e) => { if (!this.#over) this.#client.dispatchEvent(new CustomEvent('trouble', { detail: e })) })
    return done
  }

  // --- candidates

  /** @param {RTCIceCandidate|null} c */
  #found(c) {
    const gen = c?.usernameFragment || ufragOf(this.pc?.localDescription?.sdp)
    if (!gen) return
    if (gen !== this.#out.gen) {
      this.#sendCandidates()
      this.#out = { gen, n: 0, total: 0, list: [], end: false }
    }
    const out = this.#out
    const max = this.#client.welcome?.limits?.candidates || 64
    if (!c || c.candidate === '') out.end = true
    else if (++out.total <= max) out.list.push({ candidate: c.candidate, mid: c.sdpMid ?? undefined, mline: c.sdpMLineIndex ?? undefined })
    if (out.list.length >= CANDIDATES_BATCH) this.#sendCandidates()
    else if (!this.#timers.candidates) this.#arm('candidates', CANDIDATES_AFTER, () => this.#sendCandidates())
  }

  /** From now on the other side may have them. */
  #trickle() {
    this.#open = true
    this.#sendCandidates()
  }

  #sendCandidates() {
    const out = this.#out
    if (!this.#open || !out.gen || this.#over) return
    this.#clear('candidates')
    while (out.list.length || out.end) {
      const candidates = out.list.splice(0, CANDIDATES_BATCH)
      const end = out.end && !out.list.length
      if (end) out.end = false
      const d = { call: this.id, gen: out.gen, n: ++out.n, ...(candidates.length && { candidates }), ...(end && { end }) }
      this.#link.request('call.candidates', d, { keep: true, retryFor: 20_000, tag: this.id }).catch(() => {})
    }
  }

  /** @param {any} d call.candidates */
  candidates(d) {
    if (this.#over) return
    let gen = this.#in.get(d.gen)
    if (!gen) {
      gen = { seen: new Set(), waiting: [] }
      this.#in.set(d.gen, gen)
      if (this.#in.size > GENERATIONS) this.#in.delete(this.#in.keys().next().value ?? '')
    }
    if (gen.seen.has(d.n)) return
    gen.seen.add(d.n)
    if (ufragOf(this.pc?.remoteDescription?.sdp) === d.gen) this.#addCandidates(d)
    else gen.waiting.push(d)
  }

  /** @param {any} d call.candidates */
  #addCandidates(d) {
    const pc = this.pc
    for (const c of d.candidates || []) {
      pc?.addIceCandidate({ candidate: c.candidate, sdpMid: c.mid ?? null, sdpMLineIndex: c.mline ?? null, usernameFragment: d.gen }).catch(() => {})
    }
    if (d.end) pc?.addIceCandidate({ candidate: '', sdpMid: '0', usernameFragment: d.gen }).catch(() => {})
  }

  // --- media up and down

  #connectionChanged() {
    if (!this.isAnswered) return // it is being set up while it rings
    const state = this.pc?.connectionState
    switch (state) {
      case 'connected':
        this.#everConnected = true
        this.#server = ''
        this.#clear('restart')
        this.#measure()
        break
      case 'disconnected':
      case 'failed':
        this.#report(state)
        this.#arm('restart', RESTART[this.role][state], () => this.restart())
        break
    }
    this.#review()
  }

  /** What people see: a lost socket alone changes nothing here. */
  #review() {
    if (!this.isAnswered || this.#over) return
    const up = this.pc?.connectionState === 'connected'
    const before = this.state
    if (up && this.#server !== 'reconnecting') this.state = 'active'
    else this.state = this.#everConnected ? 'reconnecting' : 'connecting'
    if (this.state !== before) this.#fire('change')
  }

  /** @param {'connected'|'disconnected'|'failed'} media */
  #report(media) {
    const path = media === 'connected' ? this.path : null
    const said = JSON.stringify([media, path])
    const due = media === 'connected' && this.#figures !== null && performance.now() - this.#figuresAt >= QUALITY_EVERY
    if (said === this.#reported && !due) return
    this.#reported = said
    if (due) this.#figuresAt = performance.now()
    const tag = `report ${this.id}`
    this.#link.abandon(tag)
    this.#link.request('call.report', { call: this.id, media, ...(path && { path }), ...(due && { quality: this.#figures }), ...this.#firstMedia }, { keep: true, timeout: 60_000, tag }).catch(() => {})
  }

  /** The call is about to end, or has just ended: what operators want to know of it. */
  #reportFigures() {
    if (!this.#figures || this.#over) return
    const [media, path] = JSON.parse(this.#reported || '["connected",null]')
    this.#link.request('call.report', { call: this.id, media, ...(path && { path }), quality: this.#figures, ...this.#firstMedia }, { keep: true, timeout: ICE_TIMEOUT }).catch(() => {})
  }

  get #firstMedia() { return this.answerToMediaMs !== null && { first_media_ms: Math.min(this.answerToMediaMs, MOST_MS) } }

  async #measure() {
    this.#clear('measure')
    const pc = this.pc
    if (!pc || this.#over) return
    const report = await pc.getStats().catch(() => null)
    if (pc !== this.pc || this.#over) return
    if (report) {
      this.path = pathOf(report) || this.path
      this.stats = this.#meter.read(report, pc.connectionState === 'connected')
      this.#figures = this.#meter.figures
      if (pc.connectionState === 'connected' && this.path) this.#report('connected')
      this.#fire('stats')
    }
    this.#arm('measure', MEASURE_EVERY, () => this.#measure())
  }

  // --- the end

  get #over() { return this.state === 'ended' }

  /** @param {{reason?: string, mine?: boolean, duration?: number, error?: SwitchboardError|null}} how */
  #finish({ reason = '', mine = false, duration = 0, error = null }) {
    if (this.#over) return
    this.#link.abandon(this.id)
    this.#link.abandon(`report ${this.id}`)
    for (const name of Object.keys(this.#timers)) this.#clear(name)
    this.#closeConnection()
    for (const stream of [this.localStream, this.screenStream]) if (stream) stopTracks(stream)
    this.screenStream = null
    this.cameraOn = this.remoteVideo = this.held = this.heldByPeer = this.waiting = false
    this.endedAt = Date.now()
    this.duration = duration || (this.answeredAt ? this.endedAt - this.answeredAt : 0)
    this.reason = reason
    this.mine = Boolean(mine)
    this.error = error
    this.state = 'ended'
    this.#fire('change')
  }

  /** @param {string} name @param {number} ms @param {() => void} f */
  #arm(name, ms, f) {
    this.#clear(name)
    this.#timers[name] = setTimeout(() => { this.#timers[name] = undefined; f() }, ms)
  }

  /** @param {string} name */
  #clear(name) {
    clearTimeout(this.#timers[name])
    this.#timers[name] = undefined
  }

  /** @param {string} type */
  #fire(type) { this.dispatchEvent(new Event(type)) }
}

// ----------------------------------------------------------------------- push

/** @param {PushManager} manager @param {string} key @returns {Promise<PushSubscriptionJSON>} */
async function subscribeTo(manager, key) {
  try {
    let s = await manager.getSubscription()
    if (s?.options?.applicationServerKey && base64url(s.options.applicationServerKey) !== key) {
      await s.unsubscribe() // it was for another server, or for one that has lost its key
      s = null
    }
    s ||= await manager.subscribe({ userVisibleOnly: true, applicationServerKey: key })
    return s.toJSON()
  } catch (e) {
    const { name, message } = /** @type {Error} */ (e)
    const msg = name === 'NotAllowedError' ? 'The browser was not allowed to show notifications.' : "The browser's push service could not be reached."
    throw new SwitchboardError({ code: 'push', msg, info: { name, message } })
  }
}

/** @param {ArrayBuffer} bytes */
function base64url(bytes) {
  return btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
}

// ---------------------------------------------------------------------- media

/**
 * Opens microphone and camera, the given ones if they are there. Without a camera
 * a call that wants one goes on with sound alone.
 *
 * @param {Wanted} want
 * @returns {Promise<MediaStream>}
 */
export async function openMedia({ audio, video, microphone, camera }) {
  const devices = globalThis.navigator?.mediaDevices
  if (!devices) throw localError('media', 'Microphone and camera need a secure page (https, or localhost).')
  const sound = audio && (microphone ? { deviceId: { ideal: microphone } } : true)
  const picture = video && { width: { ideal: 1280 }, height: { ideal: 720 }, ...(camera ? { deviceId: { ideal: camera } } : { facingMode: 'user' }) }
  try {
    return await devices.getUserMedia({ audio: sound, video: picture })
  } catch (e) {
    const { name } = /** @type {Error} */ (e)
    if (audio && video && name !== 'NotAllowedError') return openMedia({ audio, video: false, microphone })
    throw new SwitchboardError({ code: 'media', msg: mediaTrouble(name, audio), retry: true, info: { name } })
  }
}

/**
 * The microphones, cameras and speakers that there are. Browsers tell their names
 * once a page has been allowed to use one, and speakers not everywhere.
 *
 * @returns {Promise<Sources>}
 */
export async function listMedia() {
  const all = await globalThis.navigator?.mediaDevices?.enumerateDevices().catch(() => []) || []
  /** @param {string} kind @param {string} what */
  const of = (kind, what) => all.filter((d) => d.kind === kind && d.deviceId).map((d, i) => ({ id: d.deviceId, label: d.label || `${what} ${i + 1}` }))
  return { microphones: of('audioinput', 'Microphone'), cameras: of('videoinput', 'Camera'), speakers: of('audiooutput', 'Speaker') }
}

/** Whether this browser can share its screen; those on phones cannot. */
export const canShareScreen = () => Boolean(globalThis.navigator?.mediaDevices?.getDisplayMedia)

/** @returns {Promise<MediaStream>} */
async function openScreen() {
  if (!canShareScreen()) throw localError('media', 'This browser cannot share its screen.')
  try {
    return await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15 } }, audio: false })
  } catch (e) {
    const { name } = /** @type {Error} */ (e)
    throw new SwitchboardError({ code: 'media', msg: 'The screen could not be shared.', retry: true, info: { name } })
  }
}

/** @param {string} name @param {boolean} audio */
function mediaTrouble(name, audio) {
  const what = audio ? 'microphone' : 'camera'
  switch (name) {
    case 'NotAllowedError': return `The browser was not allowed to use the ${what}.`
    case 'NotFoundError': return `There is no ${what}.`
    case 'NotReadableError': return `The ${what} is in use by another program.`
    default: return `The ${what} could not be opened.`
  }
}

/** @param {MediaStream} stream */
function stopTracks(stream) {
  for (const t of stream.getTracks()) t.stop()
}

/** @param {ICE|undefined} ice @returns {RTCIceServer[]} */
const iceServers = (ice) => (ice?.servers || []).filter((s) => s.urls?.length)

/** @param {ICE|undefined} ice */
const hasRelay = (ice) => iceServers(ice).some((s) => [s.urls].flat().some((u) => u.startsWith('turn')))

/** The first transceiver for sound or picture. @param {RTCPeerConnection} pc @param {Media} kind */
const transceiverOf = (pc, kind) => pc.getTransceivers().find((t) => t.receiver.track.kind === kind && t.direction !== 'stopped')

/** The ICE generation of a description. @param {string|undefined} sdp */
const ufragOf = (sdp) => sdp?.match(/^a=ice-ufrag:(\S+)/m)?.[1] || ''

/** @param {unknown} e @returns {SwitchboardError} */
const asError = (e) => e instanceof SwitchboardError ? e : localError('media', e instanceof Error ? e.message : String(e))

// ---------------------------------------------------------------------- stats

/**
 * The pair of candidates that carries the media.
 *
 * @param {RTCStatsReport} report
 * @returns {Path|null}
 */
export function pathOf(report) {
  const pair = selectedPair(report)
  const local = pair && report.get(pair.localCandidateId)
  const remote = pair && report.get(pair.remoteCandidateId)
  if (!local || !remote) return null
  /** @type {Path} */
  const path = { local: local.candidateType, remote: remote.candidateType, protocol: (local.protocol || 'udp').toLowerCase() }
  if (local.candidateType === 'relay') {
    path.relay = (local.relayProtocol || 'udp').toLowerCase()
    const server = serverOf(local.url)
    if (server) path.server = server
  }
  return path
}

/** host:port of a TURN server's URL (RFC 7065), '' if there is none. @param {string|undefined} url */
function serverOf(url) {
  const [, scheme, host, port] = url?.match(/^(turns?):(\[[^\]]+\]|[^:?]+)(?::(\d+))?/) || []
  return host ? `${host}:${port || (scheme === 'turns' ? 5349 : 3478)}` : ''
}

/** @param {RTCStatsReport} report @returns {any} */
function selectedPair(report) {
  let pair = null
  for (const s of report.values()) {
    if (s.type === 'transport' && s.selectedCandidatePairId) return report.get(s.selectedCandidatePairId)
    if (s.type === 'candidate-pair' && s.state === 'succeeded' && (s.selected || s.nominated) && (s.bytesSent || 0) >= (pair?.bytesSent || 0)) pair = s
  }
  return pair
}

/** Turns the counters of getStats into rates, from one reading to the next. */
class Meter {
  #last = { time: 0, sent: 0, received: 0, packets: 0, lost: 0 }
  /** What each stream had counted at the last reading: browsers begin anew when one comes back. @type {Map<string, {packets: number, lost: number}>} */ #streams = new Map()
  /** Of the whole call; the newest jitter and round trip. @type {Figures} */ figures = { received: 0, lost: 0, jitter_ms: 0, rtt_ms: 0 }

  /** @param {RTCStatsReport} report @param {boolean} connected @returns {CallStats} */
  read(report, connected) {
    const pair = selectedPair(report)
    const now = { time: performance.now(), sent: pair?.bytesSent || 0, received: pair?.bytesReceived || 0, packets: 0, lost: 0 }
    let [rtt, jitter, remoteLoss] = [pair?.currentRoundTripTime ?? null, /** @type {number|null} */ (null), 0]
    let [framesDecoded, width, height] = [0, 0, 0]
    for (const s of report.values()) {
      if (s.type === 'inbound-rtp') {
        now.packets += s.packetsReceived || 0
        now.lost += Math.max(0, s.packetsLost || 0)
        this.#count(s)
        if (s.jitter !== undefined) jitter = Math.max(jitter || 0, s.jitter)
        if (s.kind === 'video') {
          framesDecoded += s.framesDecoded || 0
          width = s.frameWidth || width
          height = s.frameHeight || height
        }
      } else if (s.type === 'remote-inbound-rtp') {
        rtt ??= s.roundTripTime ?? null
        remoteLoss = Math.max(remoteLoss, s.fractionLost || 0)
      }
    }
    this.figures = { ...this.figures, jitter_ms: whole(jitter), rtt_ms: whole(rtt) }
    const last = this.#last
    this.#last = now
    const seconds = last.time && (now.time - last.time) / 1000
    /** @param {number} a @param {number} b */
    const rate = (a, b) => seconds && a >= b ? Math.round((a - b) * 8 / seconds) : 0
    const [lost, packets] = [Math.max(0, now.lost - last.lost), Math.max(0, now.packets - last.packets)]
    const loss = lost + packets > 0 ? Math.max(lost / (lost + packets), remoteLoss) : null
    return {
      rtt: rtt === null ? null : rtt * 1000,
      jitter: jitter === null ? null : jitter * 1000,
      loss, up: rate(now.sent, last.sent), down: rate(now.received, last.received),
      framesDecoded, width, height,
      quality: connected ? qualityOf(rtt, loss, jitter) : 0
    }
  }

  /** @param {any} s of one stream that comes in */
  #count(s) {
    const now = { packets: s.packetsReceived || 0, lost: Math.max(0, s.packetsLost || 0) }
    const last = this.#streams.get(s.id)
    this.#streams.set(s.id, now)
    const anew = !last || now.packets < last.packets
    this.figures.received += anew ? now.packets : now.packets - last.packets
    this.figures.lost += anew ? now.lost : Math.max(0, now.lost - last.lost)
  }
}

/** @param {number|null} seconds @returns {number} ms */
const whole = (seconds) => Math.min(Math.round((seconds || 0) * 1000), MOST_MS)

/**
 * What a call sounds like, from 1 (hardly) to 4 (well).
 *
 * @param {number|null} rtt seconds @param {number|null} loss fraction @param {number|null} jitter seconds
 */
function qualityOf(rtt, loss, jitter) {
  const worse = [(rtt || 0) > 0.2, (rtt || 0) > 0.4, (loss || 0) > 0.02, (loss || 0) > 0.06, (loss || 0) > 0.15, (jitter || 0) > 0.05]
  return Math.max(1, 4 - worse.filter(Boolean).length)
}
