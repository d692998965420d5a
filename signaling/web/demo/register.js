// Registration: a number, a code, and the device is there.

import { requestCode, confirm } from './switchboard.js'
import { $, say } from './dom.js'
import { callingCode, codeOf, countries, defaultRegion, pretty, regionOf } from './countries.js'
import { errorWords } from './words.js'

export class RegisterView {
  #done
  /** @type {import('./switchboard.js').Asked|null} */
  #asked = null
  /** @type {ReturnType<typeof setInterval>|undefined} */
  #countdown

  /** @param {(reply: import('./switchboard.js').TokenReply) => void} done */
  constructor(done) {
    this.#done = done
    const select = $('country')
    for (const c of countries()) select.append(new Option(`${c.name} (+${c.code})`, c.region))
    select.value = defaultRegion()
    select.onchange = () => this.#showCode()
    $('number').oninput = () => this.#typed()
    $('number-form').onsubmit = (/** @type {Event} */ e) => { e.preventDefault(); this.#request() }
    $('code').oninput = () => this.#codeTyped()
    $('code-form').onsubmit = (/** @type {Event} */ e) => { e.preventDefault(); this.#confirm() }
    $('resend-code').onclick = () => this.#request()
    $('change-number').onclick = () => this.open()
    this.#showCode()
  }

  /** @param {string} [number] what to register again */
  open(number = '') {
    clearInterval(this.#countdown)
    $('register').hidden = false
    $('number-form').hidden = false
    $('code-form').hidden = true
    if (number) $('number').value = number
    this.#typed()
    $('number').focus()
  }

  #showCode() { say($('dial-code'), `+${callingCode($('country').value)}`) }

  /** A number with its country code chooses the country. */
  #typed() {
    say($('number-error'), '')
    const n = $('number').value.replace(/[^\d+]/g, '')
    const international = n.startsWith('+')
    $('dial-code').hidden = international
    if (international && regionOf(n) && codeOf(n) !== callingCode($('country').value)) {
      $('country').value = regionOf(n)
      this.#showCode()
    }
  }

  async #request() {
    const number = $('number').value.trim()
    const again = !$('code-form').hidden
    const error = again ? $('code-error') : $('number-error')
    if (!number) return say(error, 'Please enter your phone number.')
    await busy(again ? $('resend-code') : $('request-code'), async () => {
      try {
        this.#asked = await requestCode({ number, region: $('country').value })
        this.#askForCode()
      } catch (e) {
        say(error, errorWords(e))
        if (!again) $('number').focus()
      }
    })
  }

  #askForCode() {
    const asked = this.#asked
    if (!asked) return
    $('number-form').hidden = true
    $('code-form').hidden = false
    say($('code-number'), pretty(asked.number))
    say($('code-error'), '')
    $('code').value = ''
    $('code').maxLength = asked.digits
    $('code').placeholder = '•'.repeat(asked.digits)
    $('code').focus()
    this.#countDown(Date.now() + asked.resend_ms)
  }

  /** @param {number} until */
  #countDown(until) {
    clearInterval(this.#countdown)
    const tick = () => {
      const s = Math.ceil((until - Date.now()) / 1000)
      $('resend-code').disabled = s > 0
      say($('resend-code'), s > 0 ? `Send another code in ${s} s` : 'Send another code')
      if (s <= 0) clearInterval(this.#countdown)
    }
    this.#countdown = setInterval(tick, 1000)
    tick()
  }

  #codeTyped() {
    const input = $('code')
    input.value = input.value.replace(/\D/g, '')
    say($('code-error'), '')
    if (input.value.length === this.#asked?.digits) this.#confirm()
  }

  async #confirm() {
    const asked = this.#asked
    const code = $('code').value
    if (!asked || $('confirm-code').disabled) return
    if (code.length !== asked.digits) return say($('code-error'), `The code has ${asked.digits} digits.`)
    await busy($('confirm-code'), async () => {
      try {
        const reply = await confirm({ verification: asked.verification, code, device: deviceName() })
        clearInterval(this.#countdown)
        $('register').hidden = true
        this.#done(reply)
      } catch (e) {
        say($('code-error'), errorWords(e))
        $('code').select()
      }
    })
  }
}

/** @param {any} button @param {() => Promise<void>} f */
async function busy(button, f) {
  if (button.disabled) return
  button.disabled = true
  button.classList.add('busy')
  try {
    await f()
  } finally {
    button.disabled = false
    button.classList.remove('busy')
  }
}

/** A name for this device that its owner recognises. */
function deviceName() {
  const ua = navigator.userAgent
  const find = (/** @type {[RegExp, string][]} */ list) => list.find(([re]) => re.test(ua))?.[1]
  const browser = find([[/Edg\//, 'Edge'], [/OPR\//, 'Opera'], [/Firefox\//, 'Firefox'], [/Chrome\//, 'Chrome'], [/Safari\//, 'Safari']]) || 'Browser'
  const system = find([[/Android/, 'Android'], [/iPhone|iPad/, 'iOS'], [/Windows/, 'Windows'], [/Mac OS/, 'macOS'], [/CrOS/, 'ChromeOS'], [/Linux/, 'Linux']])
  return system ? `${browser} on ${system}` : browser
}
