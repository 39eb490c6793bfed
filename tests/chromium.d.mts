/** What a Chromium for tests is started with. */
export declare const FLAGS: string[];
