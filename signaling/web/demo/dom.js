// The few lines of DOM that the page needs.

/** @param {string} id @returns {any} the element, which must be there */
export function $(id) {
  const e = document.getElementById(id)
  if (!e) throw new Error(`no element ${id}`)
  return e
}

/**
 * Makes an element: h('button', {class: 'x', onclick: f}, 'text', child).
 *
 * @param {string} tag
 * @param {Record<string, any>} [props] on… are listeners, the others attributes; false and null are left out
 * @param {...(Node|string|null|false|undefined)} children
 * @returns {any}
 */
export function h(tag, props = {}, ...children) {
  const e = document.createElement(tag)
  for (const [k, v] of Object.entries(props)) {
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v)
    else if (v !== false && v !== null && v !== undefined) e.setAttribute(k, v === true ? '' : String(v))
  }
  for (const c of children) if (c) e.append(c)
  return e
}

/** @param {string} name of a symbol in index.html @param {string} [cls] */
export function icon(name, cls = '') {
  const ns = 'http://www.w3.org/2000/svg'
  const svg = document.createElementNS(ns, 'svg')
  svg.setAttribute('aria-hidden', 'true')
  if (cls) svg.setAttribute('class', cls)
  const use = document.createElementNS(ns, 'use')
  use.setAttribute('href', `#i-${name}`)
  svg.append(use)
  return svg
}

/** Changes the icon inside a button. @param {Element} button @param {string} name */
export function setIcon(button, name) {
  button.querySelector('use')?.setAttribute('href', `#i-${name}`)
}

/** Writes text only when it differs, so that nothing is read out twice. @param {Element} e @param {string} text */
export function say(e, text) {
  if (e.textContent !== text) e.textContent = text
}

/** Shows a message for a moment. @param {string} text @param {{bad?: boolean}} [o] */
export function toast(text, { bad = false } = {}) {
  const e = h('div', { class: bad ? 'toast bad' : 'toast' }, text)
  const toasts = $('toasts')
  while (toasts.children.length > 2) toasts.firstChild.remove()
  toasts.append(e)
  setTimeout(() => e.remove(), 5000)
}

/** @type {Element|null} */
let before = null

/**
 * Puts an overlay over everything else and the focus into it, or takes it away
 * and gives the focus back.
 *
 * @param {HTMLElement} overlay @param {boolean} on @param {HTMLElement} [focus]
 */
export function show(overlay, on, focus) {
  if (overlay.hidden !== on) return
  if (on && !document.querySelector('.overlay:not([hidden])')) before = document.activeElement
  overlay.hidden = !on
  const open = document.querySelector('.overlay:not([hidden])')
  for (const id of ['phone', 'register']) $(id).inert = Boolean(open)
  if (on) focus?.focus({ preventScroll: true })
  else if (!open && before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true })
}

/** Closes dialogs as Escape does: nothing behind one can be reached. */
export function closeDialogs() {
  for (const d of document.querySelectorAll('dialog')) {
    if (!d.open) continue
    d.dispatchEvent(new Event('cancel'))
    d.close()
  }
}

/**
 * Asks for a line of text.
 *
 * @param {{title: string, text?: string, label: string, ok: string, value?: string, type?: string, extra?: {label: string, run: () => void}, check?: (value: string) => Promise<void>|void}} o
 *   check throws an Error whose message is shown
 * @returns {Promise<string|null>} null if it was cancelled
 */
export function ask({ title, text = '', label, ok, value = '', type = 'text', extra, check }) {
  const [dialog, form, input, error] = [$('ask'), $('ask-form'), $('ask-input'), $('ask-error')]
  say($('ask-title'), title)
  say($('ask-text'), text)
  say($('ask-label'), label)
  say($('ask-ok'), ok)
  say(error, '')
  input.type = type
  input.inputMode = type
  input.value = value
  input.placeholder = label
  const more = $('ask-extra')
  more.hidden = !extra
  say(more, extra?.label || '')
  return new Promise((resolve) => {
    const done = (/** @type {string|null} */ v) => {
      form.onsubmit = dialog.oncancel = $('ask-cancel').onclick = more.onclick = null
      dialog.close()
      resolve(v)
    }
    form.onsubmit = async (/** @type {Event} */ e) => {
      e.preventDefault()
      try {
        await check?.(input.value.trim())
        done(input.value.trim())
      } catch (err) {
        say(error, /** @type {Error} */ (err).message)
      }
    }
    dialog.oncancel = $('ask-cancel').onclick = () => done(null)
    more.onclick = () => { extra?.run(); done(null) }
    dialog.showModal()
    input.select()
  })
}
