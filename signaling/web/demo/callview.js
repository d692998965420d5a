// Calls on the screen: one that comes in, one that goes on, one that is over. Of two
// calls it is the one that is talked in; SecondCall has the other.

import { $, closeDialogs, h, say, setIcon, show, toast } from './dom.js'
import { pretty } from './countries.js'
import { durationWords, endWords, errorWords, pathWords, stateWords } from './words.js'
import * as tones from './tones.js'
import { canShareScreen } from './switchboard.js'
import { SecondCall } from './secondcall.js'

/** @typedef {import('./switchboard.js').Call} Call */
/** @typedef {import('./demo.js').Phone} Phone */

/** How long keys are not heard: one that was meant for something else must not answer. */
const GRACE = 800
const CLOSE_AFTER = { soon: 2500, later: 12_000 }
/** Ends that need no reading. */
const plain = ['hangup', 'canceled', 'declined', 'answered_elsewhere', 'declined_elsewhere']

export class CallView {
  /** The call on the screen, also for a moment after its end. @type {Call|null} */
  call = null
  #phone
  #second
  #small = false
  #sound = ''
  /** @type {ReturnType<typeof setInterval>|undefined} */ #clock
  /** @type {ReturnType<typeof setTimeout>|undefined} */ #closing
  /** @type {any} */ #wakeLock = null

  /** @param {Phone} phone */
  constructor(phone) {
    this.#phone = phone
    this.#second = new SecondCall(phone, () => this.call)
    $('accept-audio').onclick = () => this.#accept(false)
    $('accept-video').onclick = () => this.#accept(true)
    $('decline').onclick = () => this.call?.reject()
    $('hangup').onclick = () => this.call?.hangup()
    $('mute').onclick = () => this.call?.setMuted(!this.call.muted)
    $('camera').onclick = () => this.#camera()
    $('share').onclick = () => this.#change($('share'), (c) => c.sharing ? c.stopSharing() : c.shareScreen())
    $('hold').onclick = () => this.#change($('hold'), (c) => c.held ? c.resume() : c.hold())
    $('call-text').onclick = () => this.#text()
    $('shrink').onclick = () => this.#shrink(true)
    $('mini').onclick = () => this.#shrink(false)
    $('details-toggle').onclick = () => this.#details()
    $('ended-close').onclick = () => this.#close()
    $('ended-again').onclick = () => this.#again()
    $('ended-text').onclick = () => { const c = this.call; this.#close(); if (c) this.#phone.goto(`chat=${c.peer}`) }
    document.addEventListener('keydown', (e) => this.#key(e))
  }

  /** A call begins: it is shown, or waits beside the one that is. @param {Call} call */
  show(call) {
    call.addEventListener('change', () => this.#changed(call))
    call.addEventListener('stats', () => this.#stats(call))
    closeDialogs()
    if (this.call && this.call.state !== 'ended') this.render(this.call)
    else this.#bring(call)
  }

  /** @param {Call} call */
  #changed(call) {
    if (call !== this.call) return this.#besides(call)
    const next = this.#second.call
    if (call.state !== 'ended' || !next) return this.render(call)
    this.#second.ended(call)
    this.#bring(next, next.state !== 'ringing' && this.#small)
    if (next.state === 'ringing') return
    this.#second.left(next)
    this.render(next)
    if (!this.#small) $('swap').focus({ preventScroll: true })
  }

  /** The other call has changed: when it is answered, or resumed, it comes to the front. @param {Call} call */
  #besides(call) {
    if (call.state === 'ended') this.#second.ended(call)
    else if (call.state !== 'ringing' && !call.held && this.call?.state !== 'ended') return this.#bring(call)
    if (this.call) this.render(this.call)
  }

  /** Puts a call on the screen. @param {Call} call @param {boolean} [small] */
  #bring(call, small = false) {
    clearTimeout(this.#closing)
    this.#closing = undefined
    this.call = call
    $('incoming').dataset.ready = 'false'
    setTimeout(() => { if (call === this.call) $('incoming').dataset.ready = 'true' }, GRACE)
    this.#small = small
    say($('incoming-error'), '')
    $('details').hidden = true
    $('details-toggle').setAttribute('aria-expanded', 'false')
    clearInterval(this.#clock)
    this.#clock = setInterval(() => this.#tick(), 500)
    this.render(call)
  }

  /** @param {Call} call */
  render(call) {
    if (call !== this.call) return
    const incoming = call.role === 'callee' && call.state === 'ringing'
    if (incoming) this.#renderIncoming(call)
    else this.#renderCall(call)
    show($('incoming'), incoming, $('accept-audio'))
    show($('incall'), !incoming && !this.#small, call.state === 'ended' ? $('ended-close') : $('hangup'))
    $('mini').hidden = !this.#small || incoming
    this.#second.render()
    this.#phone.title()
    document.body.dataset.call = call.state
    this.#sounds(call)
    this.#tick()
    this.#awake(call.state !== 'ended')
    if (call.state === 'ended') this.#over(call)
  }

  /** @param {Call} call */
  #renderIncoming(call) {
    const { people } = this.#phone
    say($('incoming-what'), stateWords(call))
    say($('incoming-name'), people.name(call.peer))
    say($('incoming-number'), people.known(call.peer) ? pretty(call.peer) : '')
    $('incoming-avatar').replaceChildren(people.avatar(call.peer))
  }

  /** @param {Call} call */
  #renderCall(call) {
    const { people } = this.#phone
    const ended = call.state === 'ended'
    $('incall').dataset.state = call.state
    $('incall').dataset.video = String(call.remoteVideo)
    say($('call-name'), people.name(call.peer))
    say($('mini-name'), people.name(call.peer))
    say($('call-number'), people.known(call.peer) ? pretty(call.peer) : '')
    say($('call-state'), stateWords(call))
    if ($('call-avatar').dataset.peer !== call.peer) {
      $('call-avatar').dataset.peer = call.peer
      $('call-avatar').replaceChildren(people.avatar(call.peer))
    }
    attach($('remote-video'), ended ? null : call.remoteStream)
    this.#phone.sources.play($('remote-video'))
    const own = call.held ? null : call.screenStream || (call.cameraOn ? call.localStream : null)
    attach($('local-video'), own)
    $('local-video').hidden = !own
    $('local-video').dataset.screen = String(own !== null && own === call.screenStream)
    $('call-controls').hidden = ended
    $('ended-controls').hidden = !ended
    say($('call-path'), call.state === 'active' ? pathWords(call.path) : '')
    toggle($('mute'), call.muted, 'Mute', 'Unmute', 'mic', 'mic-off', call.muted)
    toggle($('camera'), call.cameraOn, 'Camera on', 'Camera off', 'video', 'video-off', !call.cameraOn)
    toggle($('share'), call.sharing, 'Share screen', 'Stop sharing', 'screen', 'screen', call.sharing)
    toggle($('hold'), call.held, 'Hold', 'Resume', 'hold', 'hold', call.held)
    $('share').hidden = !canShareScreen()
    for (const b of ['mute', 'camera', 'share']) $(b).disabled = call.held
    $('hold').disabled = !call.isAnswered
    this.#note(call)
    if (call.state !== 'active') $('quality').dataset.quality = '0'
    if (ended) $('details').hidden = true
  }

  /** @param {Call} call */
  #note(call) {
    const offline = this.#phone.client.state !== 'online' && call.state === 'active'
    const muted = call.muted && call.state === 'active'
    const held = call.held ? 'On hold' : call.heldByPeer ? 'They have put you on hold' : ''
    say($('call-note'), offline ? 'The server is away; your call goes on.' : held || (muted ? 'You are muted' : call.sharing ? 'You share your screen' : ''))
  }

  /** The session comes or goes under a call. */
  connection() { if (this.call) this.#note(this.call) }

  /** @param {Call} call */
  #stats(call) {
    if (call !== this.call) return
    const s = call.stats
    say($('call-path'), call.state === 'active' ? pathWords(call.path) : '')
    if (!s) return
    $('quality').dataset.quality = String(s.quality)
    $('quality').title = ['no media', 'poor', 'fair', 'good', 'very good'][s.quality]
    const p = call.path
    const rate = (/** @type {number} */ bits) => bits >= 1e6 ? `${(bits / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bits / 1000)} kbit/s`
    const ms = (/** @type {number|null} */ v) => v === null ? '–' : `${v < 10 ? v.toFixed(1) : Math.round(v)} ms`
    say($('d-path'), pathWords(p) || '–')
    say($('d-candidates'), p ? `${p.local} → ${p.remote}, ${p.protocol}` : '–')
    say($('d-rtt'), ms(s.rtt))
    say($('d-loss'), s.loss === null ? '–' : `${(s.loss * 100).toFixed(1)} %`)
    say($('d-jitter'), ms(s.jitter))
    say($('d-up'), rate(s.up))
    say($('d-down'), rate(s.down))
    say($('d-picture'), s.width ? `${s.width} × ${s.height}` : 'none')
  }

  #tick() {
    const call = this.call
    if (!call) return
    const time = call.state === 'ended' ? (call.duration ? durationWords(call.duration) : '') : call.state === 'active' ? durationWords(Date.now() - call.answeredAt) : ''
    say($('call-time'), time)
    say($('mini-time'), call.held ? 'On hold' : time || stateWords(call))
  }

  /** @param {Call} call */
  #sounds(call) {
    const sound = this.#second.rings ? 'waiting' : call.state !== 'ringing' ? '' : call.role === 'callee' ? 'ring' : 'ringback'
    if (sound === this.#sound) return
    this.#sound = sound
    if (sound === 'ring') {
      tones.ring()
      navigator.vibrate?.([300, 200, 300])
    } else if (sound === 'waiting') tones.waiting()
    else if (sound === 'ringback') tones.ringback()
    else tones.stop()
  }

  /** @param {boolean} video */
  async #accept(video) {
    const call = this.call
    if (!call) return
    tones.unlock()
    say($('incoming-error'), '')
    try {
      await call.accept({ video })
    } catch (e) {
      say($('incoming-error'), errorWords(e))
    }
  }

  #camera() { this.#change($('camera'), (c) => c.setCamera(!c.cameraOn)) }

  /** Does what a button says, once at a time. @param {HTMLElement} button @param {(call: Call) => Promise<unknown>|undefined} f */
  async #change(button, f) {
    const call = this.call
    if (!call) return
    const had = document.activeElement === button
    button.disabled = true
    try {
      await f(call)
    } catch (e) {
      if (/** @type {any} */ (e).info?.name !== 'NotAllowedError' || button.id !== 'share') toast(errorWords(e), { bad: true })
    } finally {
      button.disabled = false
      this.render(call)
      if (had && document.activeElement === document.body) button.focus({ preventScroll: true })
    }
  }

  #text() {
    const call = this.call
    if (!call) return
    this.#shrink(true)
    this.#phone.goto(`chat=${call.peer}`)
  }

  /** @param {boolean} small */
  #shrink(small) {
    this.#small = small
    if (this.call) this.render(this.call)
  }

  #details() {
    const on = $('details').hidden
    $('details').hidden = !on
    $('details-toggle').setAttribute('aria-expanded', String(on))
  }

  /** @param {Call} call */
  #over(call) {
    if (this.#closing && $('incall').dataset.over === call.id) return
    $('incall').dataset.over = call.id
    $('quality').dataset.quality = '0'
    clearInterval(this.#clock)
    if (this.#small) toast(`${this.#phone.people.name(call.peer)}: ${endWords(call)}`)
    const quiet = plain.includes(call.reason) && !call.error
    if (!quiet && call.role === 'caller') tones.over()
    if (this.#small || (call.role === 'callee' && !call.answeredAt && !call.error)) return this.#close()
    $('ended-close').focus({ preventScroll: true })
    this.#closing = setTimeout(() => this.#close(), quiet ? CLOSE_AFTER.soon : CLOSE_AFTER.later)
  }

  #close() {
    clearTimeout(this.#closing)
    clearInterval(this.#clock)
    this.#closing = undefined
    this.call = null
    this.#small = false
    attach($('remote-video'), null)
    attach($('local-video'), null)
    show($('incall'), false)
    show($('incoming'), false)
    $('mini').hidden = true
    delete document.body.dataset.call
    this.#phone.render()
  }

  #again() {
    const call = this.call
    if (!call) return
    this.#close()
    this.#phone.dial(call.peer, call.media.includes('video'))
  }

  /** @param {KeyboardEvent} e */
  #key(e) {
    if (e.defaultPrevented || e.repeat || document.querySelector('dialog[open]')) return
    const incoming = !$('incoming').hidden
    if (incoming && $('incoming').dataset.ready !== 'true' && (e.key === 'Enter' || e.key === ' ' || e.key === 'Escape')) return e.preventDefault()
    if (incoming) {
      if (e.key === 'Escape') this.call?.reject()
      else if (e.key === 'Enter' && !(e.target instanceof HTMLButtonElement)) this.#accept(false)
      else if (e.key === 'Tab') keepIn(e, $('incoming'))
      return
    }
    if ($('incall').hidden) return
    if (e.key === 'Tab') return keepIn(e, $('second'), $('incall'))
    if (e.key === 'Escape') return this.call?.state === 'ended' ? this.#close() : this.#shrink(true)
    if (e.key === 'm' && this.call?.state === 'active') this.call.setMuted(!this.call.muted)
  }

  /** Keeps the screen on. @param {boolean} on */
  async #awake(on) {
    if (on === Boolean(this.#wakeLock)) return
    if (!on) {
      const lock = this.#wakeLock
      this.#wakeLock = null
      await lock.release?.()
      return
    }
    this.#wakeLock = {}
    this.#wakeLock = await /** @type {any} */ (navigator).wakeLock?.request('screen').catch(() => null) || {}
  }
}

/** @param {HTMLVideoElement} video @param {MediaStream|null} stream */
function attach(video, stream) {
  if (video.srcObject === stream) return
  video.srcObject = stream
  if (stream) video.play().catch(() => {})
}

/** @param {HTMLElement} b @param {boolean} pressed @param {string} off @param {string} on @param {string} iconOn @param {string} iconOff @param {boolean} crossed */
function toggle(b, pressed, off, on, iconOn, iconOff, crossed) {
  b.setAttribute('aria-pressed', String(pressed))
  say(b.querySelector('.label') || h('i'), pressed ? on : off)
  setIcon(b, crossed ? iconOff : iconOn)
}

/** Tab stays in what is over the page. @param {KeyboardEvent} e @param {...HTMLElement} parts in the page's order */
function keepIn(e, ...parts) {
  const all = parts.flatMap((p) => [...p.querySelectorAll('button')]).filter((b) => !b.disabled && b.offsetParent !== null)
  const [first, last] = [all[0], all[all.length - 1]]
  const at = document.activeElement
  const out = !all.some((b) => b === at)
  if (e.shiftKey && (at === first || out)) { e.preventDefault(); last?.focus() }
  else if (!e.shiftKey && (at === last || out)) { e.preventDefault(); first?.focus() }
}
