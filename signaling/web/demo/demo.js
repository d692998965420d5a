// The demo: a phone in a browser tab, on the SDK alone. Nothing here is needed
// to use Switchboard from a page of your own; it shows how.
//
//   ?relay      calls go through relays alone
//   ?phone=2    another phone in the same browser, with its own number
//
// For tests and for curious people, window.switchboard holds the client, the
// store and the current call.

import { Client, Store, revoke } from './switchboard.js'
import { $, say, show, toast } from './dom.js'
import { pretty } from './countries.js'
import { errorWords, relayedWords, stopWords } from './words.js'
import { People } from './people.js'
import { RegisterView } from './register.js'
import { Chats, Keypad, Recents } from './lists.js'
import { Chat } from './chat.js'
import { CallView } from './callview.js'
import { Devices } from './devices.js'
import { SourcesView } from './sources.js'
import { Waking } from './waking.js'
import * as tones from './tones.js'

const params = new URLSearchParams(location.search)
const phoneName = (params.get('phone') || '').replace(/\W/g, '').slice(0, 20)
const profile = phoneName ? `switchboard-${phoneName}` : 'switchboard'

/** Where an earlier page kept that this device uses relays alone. */
const RELAYS_ALONE = `${profile}.relay`

/** How long a connection may take before it is worth a word. */
const PATIENCE = 1500

/** The page: it owns the client and the views, and knows what is on the screen. */
export class Phone {
  store = new Store({ profile })
  people = new People(profile)
  /** @type {Client} */ client
  /** The number whose conversation is open, or ''. */
  open = ''
  #tab = 'keypad'
  #bannerTimer = /** @type {ReturnType<typeof setInterval>|undefined} */ (undefined)
  #troubleSince = 0

  constructor() {
    this.client = this.#newClient()
    this.keypad = new Keypad(this)
    this.recents = new Recents(this)
    this.chats = new Chats(this)
    this.chat = new Chat(this)
    this.callView = new CallView(this)
    this.devices = new Devices(() => this.store.device?.token || '')
    this.sources = new SourcesView(() => this.client)
    this.waking = new Waking(() => this.client, profile, phoneName)
    this.register = new RegisterView((reply) => this.#registered(reply))
    this.#settings()
    $('banner-retry').onclick = () => this.client.retryNow()
    addEventListener('hashchange', () => this.#route())
    for (const type of ['pointerdown', 'keydown']) addEventListener(type, () => tones.unlock(), { passive: true })
    document.addEventListener('keydown', (e) => this.#key(e))
  }

  start() {
    if (!this.store.device) return this.register.open()
    $('phone').hidden = false
    this.#ownNumber()
    this.#route()
    this.client.connect().catch(() => {}) // the state says it
  }

  #ownNumber() {
    const number = pretty(this.client.number)
    for (const id of ['own-number', 'fact-number']) say($(id), number)
  }

  /** @param {import('./switchboard.js').TokenReply} reply */
  #registered(reply) {
    this.store.saveDevice(reply)
    this.client = this.#newClient()
    this.start()
  }

  #newClient() {
    // This page may talk to its own origin alone, so it follows no hints to others.
    const client = new Client({ store: this.store, name: 'demo', follow: false, relayOnly: params.has('relay') || localStorage.getItem(RELAYS_ALONE) === '1', callWaiting: localStorage.getItem(`${profile}.single`) !== '1' })
    /** @param {string} type @param {(detail: any) => void} f */
    const on = (type, f) => client.addEventListener(type, (e) => f(/** @type {CustomEvent} */ (e).detail))
    on('state', () => this.#stateChanged())
    on('call', (call) => this.callView.show(call))
    on('history', () => { this.recents.render(); this.chat.render(); this.title() })
    on('conversation', () => { this.chats.render(); this.chat.render(); this.title() })
    on('number', () => this.#ownNumber())
    on('settings', (s) => this.#showPrivacy(s))
    on('presence', (p) => this.chat.presence(p))
    on('typing', ({ number }) => this.chat.typing(number))
    on('text', ({ conversation, text }) => this.#arrived(conversation.number, text.body))
    on('media', () => { this.sources.render(); if (this.callView.call) this.callView.render(this.callView.call) })
    on('trouble', (e) => {
      console.warn('switchboard:', e)
      if (e.code === 'media') this.complain(e) // in a call one wants to know
    })
    return client
  }

  /** @param {string} number @param {string} body */
  #arrived(number, body) {
    this.chat.arrived(number)
    if (!this.client.drained) return // the backlog is no news
    if (number === this.open && this.shows('detail') && !document.hidden) return
    tones.blip()
    toast(`${this.people.name(number)}: ${body.length > 80 ? `${body.slice(0, 80)}…` : body}`)
  }

  // --- what people do

  /** @param {string} number @param {boolean} video */
  dial(number, video) {
    tones.unlock()
    if (this.client.calls.size > 0) return toast('You are in a call already.', { bad: true })
    this.callView.show(this.client.call(number, { video }))
    this.keypad.clear()
  }

  /** @param {unknown} e */
  complain(e) { toast(errorWords(e), { bad: true }) }

  // --- where people are

  /** @param {string} where keypad, recents, chats or chat=<number> */
  goto(where) {
    const hash = `#${where.startsWith('chat=') ? `chat=${encodeURIComponent(where.slice(5))}` : where}`
    if (location.hash === hash) this.#route()
    else location.hash = hash
  }

  #route() {
    const where = decodeURIComponent(location.hash.slice(1))
    const number = where.match(/^chat=(\+\d{5,15})$/)?.[1] || ''
    if (['keypad', 'recents', 'chats'].includes(where)) this.#tab = where
    else if (number && this.#tab === 'keypad') this.#tab = 'chats'
    this.open = number
    const phone = $('phone')
    phone.dataset.tab = this.#tab
    phone.dataset.detail = String(Boolean(number))
    $('chat-back').setAttribute('href', `#${this.#tab}`)
    for (const tab of ['keypad', 'recents', 'chats']) {
      if (tab === this.#tab) $(`tab-${tab}`).setAttribute('aria-current', 'page')
      else $(`tab-${tab}`).removeAttribute('aria-current')
    }
    if (number) $('toasts').replaceChildren()
    if (this.#tab === 'recents' && !number) this.store.seeCalls()
    this.chat.show(number)
    this.render()
  }

  /** Whether a part of the phone can be seen. @param {string} id */
  shows(id) {
    return !$('phone').hidden && !$('phone').inert && getComputedStyle($(id)).display !== 'none'
  }

  render() {
    this.recents.render()
    this.chats.render()
    this.chat.render()
    this.title()
  }

  /** Whoever calls, or how many texts are new, stands on the tab. */
  title() {
    const unread = this.store.conversations.reduce((n, c) => n + c.unread, 0)
    const call = [...this.client.calls.values()].find((c) => c.role === 'callee' && c.state === 'ringing')
    document.title = call ? `${this.people.name(call.peer)} calls` : `${unread ? `(${unread}) ` : ''}Switchboard`
  }

  /** @param {KeyboardEvent} e */
  #key(e) {
    if (e.defaultPrevented || e.key !== 'Escape' || !this.open || document.querySelector('dialog[open], .overlay:not([hidden])')) return
    this.goto(this.#tab)
  }

  // --- the connection

  #stateChanged() {
    const { state } = this.client
    if (state === 'online') {
      this.#troubleSince = 0
      this.waking.connected()
      this.#takeOver()
    } else this.#troubleSince ||= Date.now()
    clearInterval(this.#bannerTimer)
    if (state !== 'online' && state !== 'stopped') this.#bannerTimer = setInterval(() => this.#banner(), 500)
    this.#banner()
    this.#stopped()
    $('status-dot').dataset.state = state
    say($('status-text'), { online: 'Ready for calls', connecting: 'Connecting…', waiting: 'No connection', stopped: 'Not connected', idle: '' }[state])
    say($('fact-state'), state === 'online' ? `online, ${this.client.welcome?.resumed === 'full' ? 'resumed' : 'new session'}` : state)
    say($('fact-device'), String(this.client.welcome?.device ?? ''))
    say($('fact-node'), this.client.welcome?.node || '')
    this.callView.connection()
    this.chat.connected()
  }

  #banner() {
    const { state, nextAttempt } = this.client
    const late = Date.now() - this.#troubleSince > PATIENCE
    const on = late && (state === 'connecting' || state === 'waiting')
    $('banner').hidden = !on
    $('banner-retry').hidden = state !== 'waiting'
    if (!on) return
    const s = Math.ceil((nextAttempt - Date.now()) / 1000)
    const reason = navigator.onLine ? 'No connection to the server.' : 'You are offline.'
    say($('banner-text'), state === 'connecting' ? 'Connecting…' : s > 1 ? `${reason} Trying again in ${s} s.` : `${reason} Trying again…`)
  }

  /** The server said not to come back. */
  #stopped() {
    const { state, last } = this.client
    const on = state === 'stopped' && Boolean(last) && last?.name !== 'closed'
    const [title, text, action] = stopWords(last?.name)
    if (on) {
      say($('stopped-title'), title)
      say($('stopped-text'), text)
      say($('stopped-action'), action)
      $('stopped-action').onclick = () => this.#again(last?.name || '')
    }
    show($('stopped'), on, $('stopped-action'))
  }

  /** @param {string} why */
  #again(why) {
    if (why === 'protocol') return location.reload()
    if (why !== 'bad_token') return void this.client.connect().catch(() => {})
    const { number } = this.client
    show($('stopped'), false)
    this.store.forgetDevice()
    $('phone').hidden = true
    this.register.open(number)
  }

  // --- settings

  #settings() {
    const second = $('call-waiting')
    second.checked = this.client.callWaiting
    second.onchange = () => {
      this.client.callWaiting = second.checked
      localStorage.setItem(`${profile}.single`, second.checked ? '' : '1')
    }
    const silent = $('silent')
    silent.checked = localStorage.getItem(`${profile}.silent`) === '1'
    tones.setSilent(silent.checked)
    silent.onchange = () => {
      tones.setSilent(silent.checked)
      localStorage.setItem(`${profile}.silent`, silent.checked ? '1' : '')
    }
    for (const id of ['second-phone', 'settings-second-phone']) $(id).href = `?phone=${Number(phoneName || 1) + 1 || 2}`
    $('open-settings').onclick = () => { $('settings').showModal(); this.#privacy(); this.waking.render(); this.devices.render(); this.sources.render() }
    $('relayed').onchange = () => this.#privacy({ relayed: $('relayed').value })
    $('seen-by').onchange = () => this.#privacy({ last_seen: $('seen-by').value })
    $('findable').onchange = () => this.#privacy({ discoverable: $('findable').checked ? 'everyone' : 'nobody' })
    $('read-receipts').onchange = () => this.#privacy({ read_receipts: $('read-receipts').checked ? 'everyone' : 'nobody' })
    $('close-settings').onclick = () => $('settings').close()
    $('sign-off').onclick = () => this.#signOff()
  }

  /** Whoever had an earlier page use relays alone keeps his address from everyone now. */
  async #takeOver() {
    if (localStorage.getItem(RELAYS_ALONE) !== '1') return
    await this.#privacy({ relayed: 'everyone' })
    if ($('relayed').value === 'everyone') localStorage.removeItem(RELAYS_ALONE)
  }

  /** Who sees and finds this number: asks the server, or tells it. @param {Partial<import('./switchboard.js').Settings>} [change] */
  async #privacy(change) {
    try {
      this.#showPrivacy(await (change ? this.client.setSettings(change) : this.client.settings()))
    } catch (e) {
      this.#showPrivacy(null)
      if (change) this.complain(e)
    }
  }

  /** @param {import('./switchboard.js').Settings|null} s */
  #showPrivacy(s) {
    $('seen-by').disabled = $('findable').disabled = $('read-receipts').disabled = $('relayed').disabled = !s
    if (!s) return
    $('seen-by').value = s.last_seen
    $('findable').checked = s.discoverable !== 'nobody'
    $('read-receipts').checked = s.read_receipts !== 'nobody'
    $('relayed').value = s.relayed
    say($('relayed-says'), params.has('relay') ? relayedWords.query : relayedWords[s.relayed])
  }

  async #signOff() {
    const token = this.store.device?.token || ''
    $('settings').close()
    if (!window.confirm('Remove this phone? Its texts and calls are deleted from this browser.')) return
    this.client.bye()
    show($('stopped'), false)
    await Promise.allSettled([revoke({ token }), this.waking.forget()])
    this.store.clear()
    $('phone').hidden = true
    this.register.open()
  }
}

const phone = new Phone()
Object.defineProperty(window, 'switchboard', {
  value: {
    get client() { return phone.client },
    get store() { return phone.store },
    get call() { return phone.callView.call }
  }
})
phone.start()
