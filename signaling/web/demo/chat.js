// A conversation: texts and calls with one number.

import { $, ask, h, icon, say } from './dom.js'
import { pretty } from './countries.js'
import { clock, dayWords, errorWords, pastWords, presenceWords } from './words.js'
import { ticks } from './lists.js'
import { isMissed } from './switchboard.js'

/** @typedef {import('./demo.js').Phone} Phone */

const TYPING_SHOWN = 5000

export class Chat {
  #phone
  /** The number that is open, or ''. */
  number = ''
  /** @type {import('./switchboard.js').Presence|null} */
  #presence = null
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #typingTimer
  #atEnd = true
  /** @type {Map<string, string>} what was being written, by number */
  #drafts = new Map()

  /** @param {Phone} phone */
  constructor(phone) {
    this.#phone = phone
    $('composer').onsubmit = (/** @type {Event} */ e) => { e.preventDefault(); this.#send() }
    $('compose').oninput = () => this.#typed()
    let shift = false
    $('compose').onkeydown = (/** @type {KeyboardEvent} */ e) => {
      shift = e.shiftKey
      if (e.key !== 'Enter' || shift || e.isComposing) return
      e.preventDefault()
      this.#send()
    }
    // The keyboards of phones name no keys; what they insert tells.
    $('compose').onbeforeinput = (/** @type {InputEvent} */ e) => {
      if (e.inputType !== 'insertLineBreak' || shift) return
      e.preventDefault()
      this.#send()
    }
    const list = $('messages')
    list.onscroll = () => { this.#atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60 }
    new ResizeObserver(() => this.#toEnd()).observe(list)
    $('chat-call').onclick = () => phone.dial(this.number, false)
    $('chat-video').onclick = () => phone.dial(this.number, true)
    $('chat-title').onclick = () => this.#edit()
    document.addEventListener('visibilitychange', () => this.#read())
  }

  /** @param {string} number '' for none */
  show(number) {
    if (this.number) this.#drafts.set(this.number, $('compose').value)
    const changed = number !== this.number
    if (changed && this.number) this.#phone.client?.unsubscribe([this.number])
    this.number = number
    $('chat').hidden = number === ''
    $('welcome').hidden = number !== ''
    if (!number) return
    if (changed) {
      this.#atEnd = true
      $('compose').value = this.#drafts.get(number) || ''
      this.#presence = null
      this.#typing(false)
      this.#grow()
    }
    this.render()
    if (changed) this.#follow()
    if (changed && matchMedia('(pointer: fine)').matches) $('compose').focus()
  }

  render() {
    if (!this.number) return
    const { people } = this.#phone
    $('chat-avatar').replaceChildren(people.avatar(this.number))
    say($('chat-name'), people.name(this.number))
    $('chat-title').setAttribute('aria-label', `${people.name(this.number)}: name or remove`)
    const rows = this.#timeline()
    const end = this.#atEnd
    $('messages').replaceChildren(...(rows.length ? rows : [h('li', { class: 'day' }, 'Say hello')]))
    this.#atEnd = end
    this.#toEnd()
    this.#read()
  }

  /** Keeps the newest in sight, unless one has scrolled back. */
  #toEnd() {
    const list = $('messages')
    if (this.#atEnd) list.scrollTop = list.scrollHeight
  }

  /** Texts and calls in one row, with the days between. */
  #timeline() {
    const texts = this.#phone.store.conversation(this.number)?.texts || []
    const calls = this.#phone.store.calls.filter((c) => c.peer === this.number)
    const items = [
      ...texts.map((t, i) => ({ time: t.time, order: i, make: (/** @type {boolean} */ tail) => this.#bubble(t, tail), side: t.out ? 'out' : 'in' })),
      ...calls.map((c) => ({ time: c.time, order: 0, make: () => this.#past(c), side: 'call' }))
    ].sort((a, b) => a.time - b.time || a.order - b.order)
    const rows = []
    let day = ''
    for (const [i, item] of items.entries()) {
      const d = dayWords(item.time)
      if (d !== day) rows.push(h('li', { class: 'day' }, d))
      day = d
      const next = items[i + 1]
      const tail = !next || next.side !== item.side || next.time - item.time > 120_000 || dayWords(next.time) !== d
      rows.push(item.make(tail))
    }
    return rows
  }

  /** @param {import('./switchboard.js').Text} t @param {boolean} tail */
  #bubble(t, tail) {
    const li = h('li', { class: `text ${t.out ? 'out' : 'in'}${tail ? ' tail' : ''}`, 'data-id': t.id, 'data-state': t.state },
      h('p', {}, t.body),
      h('span', { class: 'meta' }, h('time', {}, clock(t.time)), t.out && ticks(t.state)))
    if (t.state === 'failed') {
      li.append(h('button', { class: 'link danger', type: 'button', onclick: () => this.#phone.client.resend(this.number, t.id) }, `${errorWords({ code: t.error })} Try again`))
    }
    return li
  }

  /** @param {import('./switchboard.js').PastCall} c */
  #past(c) {
    return h('li', { class: isMissed(c) ? 'past missed' : 'past', 'data-call': c.call }, icon(isMissed(c) ? 'missed' : c.out ? 'out' : 'in'), `${c.out ? 'You called' : 'They called'}${c.video ? ' with video' : ''} · ${pastWords(c)} · ${clock(c.time)}`)
  }

  #send() {
    const input = $('compose')
    const body = input.value.trim()
    if (!body) return
    try {
      this.#phone.client.sendText(this.number, body)
    } catch (e) {
      return this.#phone.complain(e)
    }
    input.value = ''
    this.#drafts.delete(this.number)
    this.#grow()
    this.#atEnd = true
    this.#toEnd()
  }

  #typed() {
    this.#grow()
    if ($('compose').value.trim()) this.#phone.client.typing(this.number)
  }

  #grow() {
    const input = $('compose')
    input.style.height = 'auto'
    input.style.height = `${Math.min(input.scrollHeight, 140)}px`
    $('send').disabled = input.value.trim() === ''
  }

  /** What can be seen has been read. */
  #read() {
    if (!this.number || document.hidden || !this.#phone.shows('detail')) return
    this.#phone.client?.markRead(this.number)
  }

  /** Is the other side there, and from now on, when does that change? */
  async #follow() {
    const { number } = this
    if (!number || this.#phone.client.state !== 'online') return this.#showPresence(null)
    const [p] = await this.#phone.client.subscribe([number]).catch(() => [null])
    if (number === this.number) this.#showPresence(p)
    else if (p) this.#phone.client.unsubscribe([number])
  }

  /** Somebody came or went. @param {import('./switchboard.js').Presence} p */
  presence(p) {
    if (p.number === this.number) this.#showPresence(p)
  }

  /** @param {import('./switchboard.js').Presence|null} p */
  #showPresence(p) {
    this.#presence = p
    const words = presenceWords(p)
    say($('chat-presence'), words || (this.#phone.people.known(this.number) ? pretty(this.number) : ''))
    $('chat-presence').classList.toggle('online', Boolean(p?.online))
  }

  /** The other side is writing. @param {string} number */
  typing(number) {
    if (number === this.number) this.#typing(true)
  }

  /** @param {boolean} on */
  #typing(on) {
    clearTimeout(this.#typingTimer)
    $('typing').hidden = !on
    this.#toEnd()
    if (on) this.#typingTimer = setTimeout(() => this.#typing(false), TYPING_SHOWN)
    if (on && this.#presence && !this.#presence.online) this.#showPresence({ ...this.#presence, online: true })
  }

  /** A text of theirs came. @param {string} number */
  arrived(number) {
    if (number === this.number) this.#typing(false)
  }

  /** The session is there or is not. */
  connected() { if (this.number) this.#follow() }

  async #edit() {
    const { number } = this
    const { people, store } = this.#phone
    const name = await ask({
      title: 'Who is this?',
      text: pretty(number),
      label: 'Name, kept in this browser',
      value: people.known(number) ? people.name(number) : '',
      ok: 'Save',
      extra: { label: 'Delete chat', run: () => { store.dropConversation(number); this.#phone.goto('chats') } }
    })
    if (name === null) return
    people.rename(number, name)
    if (name) this.#phone.client.syncContacts([number]).catch(() => {}) // whoever has a name is known
    this.#phone.render()
  }
}
