// The call beside the one on the screen: one that rings meanwhile, in a banner
// above everything; one that is on hold, in a row of the call's own screen.

import { $, say, toast } from './dom.js'
import { endWords, errorWords, stateWords } from './words.js'
import * as tones from './tones.js'

/** @typedef {import('./switchboard.js').Call} Call */
/** @typedef {import('./demo.js').Phone} Phone */

/** How long the call that is left cannot be hung up: the second of two clicks was meant for the other. */
const GRACE = 800

export class SecondCall {
  #phone
  #front
  /** The call that is left on hold, to be resumed. @type {Call|null} */ #left = null

  /** @param {Phone} phone @param {() => Call|null} front the call on the screen */
  constructor(phone, front) {
    this.#phone = phone
    this.#front = front
    $('second-hold').onclick = () => this.#accept('hold')
    $('second-end').onclick = () => this.#accept('end')
    $('second-decline').onclick = () => this.call?.reject()
    $('swap').onclick = () => this.#swap()
  }

  /** There are two calls at most. @returns {Call|undefined} */
  get call() { return [...this.#phone.client.calls.values()].find((c) => c !== this.#front()) }

  get rings() { return this.call?.role === 'callee' && this.call.state === 'ringing' }

  render() {
    this.#banner()
    this.#row()
  }

  /** Another one has ended, or this one has: says so where people did not do it themselves. @param {Call} call */
  ended(call) {
    if (!call.mine || call.error) toast(`${this.#phone.people.name(call.peer)}: ${endWords(call)}`)
  }

  /** Of two calls this one is left. @param {Call} call */
  left(call) {
    this.#left = call
    $('hangup').disabled = true
    setTimeout(() => { $('hangup').disabled = false }, GRACE)
  }

  #banner() {
    const [call, front] = [this.call, this.#front()]
    const on = Boolean(call && front && this.rings)
    const had = $('second').contains(document.activeElement)
    if (on && call) {
      const { people } = this.#phone
      if ($('second').hidden) say($('second-error'), '')
      say($('second-what'), call.media.includes('video') ? 'Another call, with video' : 'Another call')
      say($('second-name'), people.name(call.peer))
      face($('second-avatar'), people.avatar(call.peer), call.peer)
      $('second-hold').hidden = !front?.isAnswered // one that rings yet cannot wait
    }
    $('second').hidden = !on
    if (had && !on) $($('incall').hidden ? 'mini' : 'hangup').focus({ preventScroll: true })
  }

  #row() {
    const [front, call] = [this.#front(), this.call]
    const { people } = this.#phone
    if (!front?.held) this.#left = null
    const beside = call?.isAnswered ? call : undefined
    const left = !call && this.#left === front ? front : undefined
    const shown = beside || left
    $('other').hidden = !shown
    if (!shown) return
    const name = people.name(shown.peer)
    say($('other-name'), name)
    say($('other-state'), shown.held ? ['On hold', stateWords(shown)].filter(Boolean).join(' · ') : stateWords(shown))
    face($('other-avatar'), people.avatar(shown.peer), shown.peer)
    say($('swap-label'), beside ? 'Swap' : 'Resume')
    $('swap').classList.toggle('call', !beside)
    $('swap').setAttribute('aria-label', beside ? `Swap: talk to ${name}` : `Resume: talk to ${name}`)
  }

  /** @param {'hold'|'end'} others what becomes of the present call */
  async #accept(others) {
    const call = this.call
    if (!call) return
    tones.unlock()
    say($('second-error'), '')
    try {
      await call.accept({ video: false, others })
    } catch (e) {
      say($('second-error'), errorWords(e))
    }
  }

  async #swap() {
    try {
      await (this.call || this.#left)?.resume()
    } catch (e) {
      toast(errorWords(e), { bad: true })
    }
  }
}

/** Changes a face only when it is another's. @param {HTMLElement} place @param {HTMLElement} avatar @param {string} peer */
function face(place, avatar, peer) {
  if (place.dataset.peer === peer && place.firstChild?.textContent === avatar.textContent) return
  place.dataset.peer = peer
  place.replaceChildren(avatar)
}
