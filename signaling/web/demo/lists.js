// The three panes: the keypad, the recent calls, the chats.

import { $, ask, h, icon, say } from './dom.js'
import { pretty } from './countries.js'
import { isMissed } from './switchboard.js'
import { errorWords, pastWords, wayWords, whenWords } from './words.js'
import * as tones from './tones.js'

/** @typedef {import('./demo.js').Phone} Phone */

const letters = ['', 'abc', 'def', 'ghi', 'jkl', 'mno', 'pqrs', 'tuv', 'wxyz', '', '+', '']

export class Keypad {
  #phone
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #held

  /** @param {Phone} phone */
  constructor(phone) {
    this.#phone = phone
    ;[...'123456789*0#'].forEach((k, i) => $('keys').append(this.#key(k, letters[i])))
    $('erase').onclick = () => this.#erase()
    $('dial-number').oninput = () => this.#changed()
    $('dial-form').onsubmit = (/** @type {Event} */ e) => { e.preventDefault(); this.#call(false) }
    $('dial-video').onclick = () => this.#call(true)
    $('dial-text').onclick = () => this.#text()
    this.#changed()
  }

  /** @param {string} k @param {string} sub */
  #key(k, sub) {
    const b = h('button', { class: 'key', type: 'button', id: `key-${k === '*' ? 'star' : k === '#' ? 'hash' : k}` }, h('b', {}, k), h('small', {}, sub))
    const held = () => { this.#held = setTimeout(() => { this.#held = undefined; this.#type('+') }, 500) }
    b.onclick = () => {
      if (k === '0' && b.dataset.held) return delete b.dataset.held
      tones.key(k)
      this.#type(k)
    }
    if (k !== '0') return b
    b.onpointerdown = () => { held(); b.dataset.held = '' }
    b.onpointerup = b.onpointerleave = () => {
      if (this.#held) { clearTimeout(this.#held); delete b.dataset.held }
      this.#held = undefined
    }
    return b
  }

  /** @param {string} k */
  #type(k) {
    const input = $('dial-number')
    const [from, to] = [input.selectionStart ?? input.value.length, input.selectionEnd ?? input.value.length]
    input.setRangeText(k, from, to, 'end')
    this.#changed()
  }

  #erase() {
    const input = $('dial-number')
    const [from, to] = [input.selectionStart ?? 0, input.selectionEnd ?? 0]
    if (from === to && from > 0) input.setRangeText('', from - 1, from, 'end')
    else input.setRangeText('', from, to, 'end')
    this.#changed()
  }

  #changed() {
    const value = $('dial-number').value.trim()
    for (const id of ['dial-call', 'dial-video', 'dial-text', 'erase']) $(id).disabled = value === ''
    const n = value.replace(/[^\d+]/g, '')
    const written = pretty(n)
    say($('dial-hint'), this.#phone.people.known(n) ? this.#phone.people.name(n) : written !== n && written !== value ? written : '')
    $('dial-hint').classList.remove('bad')
  }

  /** @param {boolean} video */
  #call(video) {
    const number = $('dial-number').value.trim()
    if (!number) return $('dial-number').focus()
    this.#phone.dial(number, video)
  }

  async #text() {
    try {
      const { number } = await this.#phone.client.lookup($('dial-number').value.trim())
      this.#phone.goto(`chat=${number}`)
    } catch (e) {
      say($('dial-hint'), errorWords(e))
      $('dial-hint').classList.add('bad')
    }
  }

  clear() {
    $('dial-number').value = ''
    this.#changed()
  }
}

export class Recents {
  #phone

  /** @param {Phone} phone */
  constructor(phone) {
    this.#phone = phone
    $('clear-recents').onclick = () => { phone.store.clearCalls(); this.render() }
  }

  render() {
    const { calls } = this.#phone.store
    $('recents').replaceChildren(...calls.map((c) => this.#row(c)))
    $('recents-empty').hidden = calls.length > 0
    $('clear-recents').hidden = calls.length === 0
    badge($('missed-count'), calls.filter((c) => isMissed(c) && !c.seen).length, 'missed calls')
  }

  /** @param {import('./switchboard.js').PastCall} c */
  #row(c) {
    const { people } = this.#phone
    const bad = isMissed(c)
    return h('li', { 'data-call': c.call, 'data-peer': c.peer, class: bad ? 'missed' : '' },
      h('a', { class: 'row', href: `#chat=${encodeURIComponent(c.peer)}` },
        people.avatar(c.peer),
        h('span', { class: 'row-text' },
          h('b', {}, people.name(c.peer)),
          h('small', {}, icon(bad ? 'missed' : c.out ? 'out' : 'in'), !bad && h('span', { class: 'sr' }, `${wayWords(c)}, `), h('span', {}, `${c.video ? 'Video · ' : ''}${pastWords(c)}`))),
        h('time', {}, whenWords(c.time))),
      h('button', { class: 'icon', type: 'button', 'aria-label': `Call ${people.name(c.peer)}`, onclick: () => this.#phone.dial(c.peer, c.video) }, icon(c.video ? 'video' : 'phone')))
  }
}

export class Chats {
  #phone

  /** @param {Phone} phone */
  constructor(phone) {
    this.#phone = phone
    $('new-chat').onclick = () => this.#new()
  }

  async #new() {
    let number = ''
    await ask({
      title: 'New text',
      text: 'To which number?',
      label: 'Phone number',
      type: 'tel',
      ok: 'Write',
      check: async (value) => {
        try {
          number = (await this.#phone.client.lookup(value)).number
        } catch (e) {
          throw new Error(errorWords(e))
        }
      }
    })
    if (number) this.#phone.goto(`chat=${number}`)
  }

  render() {
    const list = this.#phone.store.conversations.filter((c) => c.texts.length > 0)
    $('chats').replaceChildren(...list.map((c) => this.#row(c)))
    $('chats-empty').hidden = list.length > 0
    badge($('unread-count'), list.reduce((n, c) => n + c.unread, 0), 'unread texts')
  }

  /** @param {import('./switchboard.js').Conversation} c */
  #row(c) {
    const { people } = this.#phone
    const last = c.texts.at(-1)
    return h('li', { 'data-peer': c.number, class: c.unread ? 'unread' : '', 'aria-current': this.#phone.open === c.number && 'true' },
      h('a', { class: 'row', href: `#chat=${encodeURIComponent(c.number)}` },
        people.avatar(c.number),
        h('span', { class: 'row-text' },
          h('b', {}, people.name(c.number)),
          h('small', {}, last?.out && ticks(last.state), h('span', {}, last?.body || ''))),
        h('span', { class: 'row-end' }, h('time', {}, whenWords(c.time)), c.unread > 0 && h('b', { class: 'badge' }, String(c.unread)))))
  }
}

/** @param {HTMLElement} e @param {number} n @param {string} what */
function badge(e, n, what) {
  e.hidden = n === 0
  say(e, n > 99 ? '99+' : String(n))
  e.setAttribute('aria-label', `${n} ${what}`)
}

/** How far a text has come. @param {import('./switchboard.js').TextState} state */
export function ticks(state) {
  const [name, label] = {
    pending: ['clock-small', 'Waiting to be sent'],
    stored: ['tick', 'Sent'],
    delivered: ['ticks', 'Delivered'],
    read: ['ticks', 'Read'],
    failed: ['warn', 'Not sent'],
    received: ['tick', '']
  }[state]
  return h('span', { class: `ticks ${state}`, role: 'img', 'aria-label': label, title: label }, icon(name))
}
